"""What the planner decides beside memory."""

from pathlib import Path

from berth.planner.plan import RandomWeights
from berth.planner.planning import plan
from berth.spec import load

STACKS = Path(__file__).parents[2] / "stacks"


def test_the_default_stack_needs_nothing_that_is_not_built():
    decided = plan(load(STACKS / "dev.yaml"), "dev")
    assert decided.refusals == ()
    assert decided.unbuilt == ()
    (tiny,) = decided.replicas
    assert tiny.weights == RandomWeights(shape="tiny")
    assert tiny.arguments["max-model-len"] == 512
    assert tiny.arguments["load-format"] == "dummy"
    assert decided.gateway is not None
    assert [key.name for key in decided.gateway.keys] == ["default"]
