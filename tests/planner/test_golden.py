"""What each stack file plans to, readable, so that a change of the planner shows where it reaches.

`BERTH_WRITE_GOLDEN=1 pytest tests/planner/test_golden.py` writes them anew; read the difference before committing it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.planner.verdict import Verdict
from berth.spec import load

STACKS = Path(__file__).parents[2] / "stacks"
GOLDEN = Path(__file__).parent / "golden"
CASES = [(path.stem, None) for path in sorted(STACKS.glob("*.yaml")) if path.stem != "rtx5090"]
CASES += [("rtx5090", profile) for profile in ("conservative", "balanced", "aggressive")]


def summary(decided: Plan) -> Iterator[str]:
    yield f"{decided.stack} ({decided.profile}): {decided.verdict}"
    for card in decided.cards:
        uses = ", ".join(f"{name} {size}" for name, size in card.uses) or "nothing"
        yield f"{card.host} gpu {card.index} {card.model} {card.total}: {uses}; {card.free} free; {card.verdict}"
    for one in decided.replicas:
        place = f"{one.host}{list(one.cards) if one.cards else ''}:{one.port}"
        yield f"{one.name} on {place}, {one.engine.name} {one.engine.version} {one.engine.device}, {one.on_change}"
        yield from (f"  --{name} {value}" for name, value in one.arguments.items())
        yield from (f"  {name}={value}" for name, value in one.environment.items())
        if one.memory is not None:
            yield from (f"  {term.name}: {term.size.gib:.1f} GiB" for term in one.memory.terms)
            yield f"  {one.memory.kv_tokens} tokens of KV cache, {one.memory.max_concurrency:.1f} requests"
    for route in decided.gateway.models if decided.gateway is not None else ():
        shares = ", ".join(f"{share.revision} {share.percent} %" for share in route.revisions)
        yield f"route {', '.join((route.name, *route.aliases))}: {shares}"
    yield from (f"{note.severity}: {note}" for note in decided.notes)


@pytest.mark.parametrize(("stack", "profile"), CASES, ids=lambda value: value or "default")
def test_a_stack_file_plans_as_before(stack: str, profile: str | None):
    decided = plan(load(STACKS / f"{stack}.yaml"), stack, profile)
    text = "\n".join(summary(decided)) + "\n"
    path = GOLDEN / f"{stack}{f'-{profile}' if profile else ''}.txt"
    if os.environ.get("BERTH_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize(("stack", "profile"), CASES, ids=lambda value: value or "default")
def test_every_stack_file_plans_clean(stack: str, profile: str | None):
    decided = plan(load(STACKS / f"{stack}.yaml"), stack, profile)
    assert decided.refusals == ()
    assert decided.verdict is not Verdict.DOES_NOT_FIT
    assert decided.verdict is not Verdict.UNKNOWN


def test_no_golden_file_is_left_over():
    known = {f"{stack}{f'-{profile}' if profile else ''}" for stack, profile in CASES}
    assert {path.stem for path in GOLDEN.glob("*.txt")} == known
