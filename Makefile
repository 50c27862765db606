# Thin on purpose: what these do is in bootstrap/, berth/lifecycle/ and .ci/.
PYTHON ?= python3
STACK ?= dev
BIN := .venv/bin

.PHONY: up down plan preview test soak check bootstrap

up: .venv ## bring a stack up, and get what it needs first: make up [STACK=name]
	@$(BIN)/berth up $(STACK)

down: .venv ## destroy what a stack made: make down [STACK=name]
	@$(BIN)/berth down $(STACK)

plan: .venv ## what would run where, and whether it fits; asks no machine
	@$(BIN)/berth plan $(STACK)

preview: .venv ## what `make up` would change
	@eval "$$($(BIN)/berth env $(STACK))" && pulumi preview --diff --stack $(STACK)

test check soak: ## the whole suite; format, lint and types alone; the long loops at their full count
	@$(PYTHON) -m bootstrap venv --dev
	@$(BIN)/python .ci/suite.py $@

bootstrap: ## the environment and Pulumi, and nothing else
	@$(PYTHON) -m bootstrap

.PHONY: .venv # make cannot know whether it is complete; the bootstrap does, in no time
.venv:
	@$(PYTHON) -m bootstrap venv
