"""What holds for any stack: a plan or messages, never a traceback; suggestions help; ports stay."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.planner.suggestions import suggestions
from berth.planner.verdict import Verdict
from berth.spec import Problem, SpecError, Stack, loads
from berth.spec.document import Document
from berth.spec.reading import build

STACKS = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parents[2] / "stacks").glob("*.yaml")}
RELAXED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

WORDS = sorted({
    word
    for stack in STACKS.values()
    for word in json.dumps(stack, default=str).replace('"', " ").replace(":", " ").split()
    if word.isidentifier()
})  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([*WORDS, "0.10", "16 GiB", "10m", "auto", "999999999", "-1", "v100", "h100", "a100"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
)


def paths(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a document but its root."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: list[tuple[str | int, ...]] = []
    for key, item in inner:
        found += [(*above, key), *paths(item, (*above, key))]
    return found


def mutated(document: Any, draw: Any) -> Any:
    """A copy with one thing removed, replaced, renamed, repeated or added."""
    copy = json.loads(json.dumps(document, default=str))
    places = paths(copy)
    if not places:
        return copy
    *above, last = draw(st.sampled_from(places))
    holder = copy
    for part in above:
        holder = holder[part]
    match draw(st.sampled_from(["remove", "replace", "rename", "add", "repeat"])):
        case "remove":
            del holder[last]
        case "rename" if isinstance(holder, dict):
            holder[draw(st.sampled_from(WORDS))] = holder.pop(last)
        case "add" if isinstance(holder, dict):
            holder[draw(st.sampled_from(WORDS))] = draw(VALUES)
        case "repeat" if isinstance(holder, list):
            holder.append(holder[last])
        case _:
            holder[last] = draw(VALUES)
    return copy


def tuples(value: Any) -> Any:
    """Data as the reader gives it."""
    if isinstance(value, dict):
        return {str(key): tuples(item) for key, item in value.items()}
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value


def outcome(data: Any) -> Plan | tuple[Problem, ...]:
    """The plan of a document, or what is wrong with it."""
    try:
        stack = build(Document(Path("x.yaml"), tuples(data), {}, {}))
    except SpecError as error:
        return error.problems
    return plan(stack, "x")


def assert_said(result: Plan | tuple[Problem, ...]) -> None:
    """Every message is one line that starts with a place and says something."""
    messages = [*map(str, result.notes)] if isinstance(result, Plan) else [*map(str, result)]
    assert messages or isinstance(result, Plan)
    for message in messages:
        where, _, text = message.partition(": ")
        assert where
        assert text
        assert "\n" not in message.replace("\\n", "")


@given(st.data(), st.sampled_from(sorted(STACKS)), st.integers(1, 3))
@settings(max_examples=2500, deadline=None, suppress_health_check=RELAXED)
def test_any_mutation_gives_a_plan_or_messages(data: Any, stack: str, times: int):
    document = STACKS[stack]
    for _ in range(times):
        document = mutated(document, data.draw)
        if not isinstance(document, dict):
            return
    assert_said(outcome(document))


@pytest.mark.soak
@given(st.data(), st.sampled_from(sorted(STACKS)), st.integers(1, 4))
@settings(max_examples=30_000, deadline=None, suppress_health_check=RELAXED)
def test_very_many_mutations_give_a_plan_or_messages(data: Any, stack: str, times: int):
    document = STACKS[stack]
    for _ in range(times):
        document = mutated(document, data.draw)
    assert_said(outcome(document))


@given(st.sampled_from(sorted(STACKS)), st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=RELAXED)
def test_any_broken_text_gives_a_plan_or_messages(stack: str, data: Any):
    text = yaml.safe_dump(STACKS[stack])
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    try:
        result: Plan | tuple[Problem, ...] = plan(
            loads(text[:start] + data.draw(st.text(max_size=10)) + text[end:]), "x"
        )
    except SpecError as error:
        result = error.problems
    assert_said(result)


CARDS = st.sampled_from(["rtx-3090", "rtx-5090", "a40", "l4", "h100-sxm", "a10", "rtx-4090"])
REPOSITORIES = st.sampled_from(
    [
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Qwen/Qwen2.5-3B-Instruct", "01-ai/Yi-6B-Chat",
        "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-14B-Instruct", "Qwen/Qwen2.5-32B-Instruct",
    ]
)  # fmt: skip
COMMIT = "0" * 40


@st.composite
def crowded(draw: Any) -> Stack:
    """A host with a few cards and a few models that may or may not fit."""
    count = draw(st.integers(1, 4))
    models = {}
    for number in range(draw(st.integers(1, 4))):
        model: dict[str, Any] = {
            "source": {"hub": draw(REPOSITORIES), "revision": COMMIT},
            "engine": {"name": "vllm", "version": draw(st.sampled_from(["0.9.2", "0.10.1.1", "0.11.0", "0.25.0"]))},
            "place": [{"host": "h", "gpus": [draw(st.integers(0, count - 1))]}],
            "context": draw(st.sampled_from([512, 2048, 8192, 32768, 131072])),
        }
        if draw(st.booleans()):
            model["concurrency"] = draw(st.integers(1, 64))
        if draw(st.booleans()):
            model["share"] = draw(st.sampled_from([0.1, 0.25, 0.5, 0.9]))
        models[f"m{number}"] = model
    host = {"connection": "local", "gpus": [{"model": draw(CARDS), "count": count}]}
    return built({"hosts": {"h": host}, "models": models})


def built(data: Any) -> Stack:
    return build(Document(Path("x.yaml"), tuples(data), {}, {}))


@given(crowded())
@settings(max_examples=60, deadline=None, suppress_health_check=RELAXED)
def test_a_suggestion_cures_what_it_is_for_and_one_cure_plans_clean(stack: Stack):
    def again(changed: Stack) -> Plan:
        return plan(changed, "x")

    decided = again(stack)
    failing = [card for card in decided.cards if card.verdict is Verdict.DOES_NOT_FIT]
    for card in failing:
        found = list(suggestions(stack, decided, card, again))
        assert tuple(one.text for one in found) == card.suggestions
        for one in found:
            after = again(one.stack)
            there = next(held for held in after.cards if (held.host, held.index) == (card.host, card.index))
            assert there.verdict in {Verdict.FITS, Verdict.TIGHT}
            assert len(after.refusals) < len(decided.refusals)
            if len(failing) == 1 and all(note.where.endswith(f"gpu {card.index}") for note in decided.refusals):
                assert after.refusals == ()


@given(crowded())
@settings(max_examples=100, deadline=None, suppress_health_check=RELAXED)
def test_what_is_left_to_the_planner_never_crowds_a_card(stack: Stack):
    models = {
        name: model.model_copy(
            update={
                "revisions": {key: held.model_copy(update={"share": None}) for key, held in model.revisions.items()}
            }
        )
        for name, model in stack.models.items()
    }
    decided = plan(stack.model_copy(update={"models": models}), "x")
    for card in decided.cards:
        if card.verdict is Verdict.FITS:
            assert card.free >= 0


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True), st.integers(10_001, 20_000))
@settings(max_examples=100, deadline=None, suppress_health_check=RELAXED)
def test_adding_a_model_never_moves_anothers_port(numbers: list[int], added: int):
    def ports(names: list[int]) -> Mapping[str, int]:
        model = {"source": {"random": "tiny"}, "engine": "vllm", "place": [{"host": "h"}]}
        data = {"hosts": {"h": {"connection": "local"}}, "models": {f"m{name}": model for name in names}}
        return {one.name: one.port for one in plan(built(data), "x").replicas}

    before, after = ports(numbers), ports([*numbers, added])
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == len(after)


@given(st.sampled_from(sorted(STACKS)))
@settings(max_examples=20, deadline=None)
def test_the_same_stack_plans_the_same(stack: str):
    text = yaml.safe_dump(STACKS[stack], sort_keys=False)
    first, second = plan(loads(text), stack), plan(loads(text), stack)
    assert first == second
    assert replace(first, notes=()) == replace(second, notes=())
