"""Any plan can be shown in every format: odd names, empty cards, sizes of nothing and of everything."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from berth.catalogue.units import Bytes
from berth.planner.plan import Note, Plan, Severity
from berth.planner.verdict import CardVerdict, ReplicaMemory, Term, Verdict
from berth.report.document import to_json
from berth.report.lines import lines
from berth.report.markdown import to_markdown
from berth.report.svg import to_svg
from berth.report.terminal import show
from berth.report.view import stops
from tests.report import plans

names = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
sizes = st.one_of(st.just(0), st.integers(0, 2**40)).map(Bytes)
verdicts = st.sampled_from(list(Verdict))
terms = st.builds(Term, name=st.sampled_from(["weights", "KV cache", "CUDA graphs", "other"]), size=sizes, source=names)


@st.composite
def any_plan(draw: st.DrawFn) -> Plan:
    replicas = []
    for index, name in enumerate(draw(st.lists(names, max_size=4))):
        parts = tuple(draw(st.lists(terms, max_size=5)))
        memory = ReplicaMemory(
            terms=parts, used=Bytes(sum(term.size for term in parts)), budget=draw(sizes), available_kv=draw(sizes),
            kv_tokens=draw(st.integers(0, 2**40)), max_concurrency=draw(st.floats(0, 1e9)), share=draw(st.floats(0, 1)),
            smallest_share=None, verdict=draw(verdicts), reasons=(draw(names),),
        )  # fmt: skip
        replicas.append(plans.replica(name, held=draw(st.sampled_from([memory, None])), index=index))
    cards = []
    for index in range(draw(st.integers(0, 3))):
        uses = [(one.name, one.memory.used if one.memory else draw(sizes)) for one in replicas]
        uses += [(name, draw(sizes)) for name in draw(st.lists(names, max_size=2))]
        total = draw(sizes)
        free = Bytes(total - sum(size for _, size in uses))
        cards.append(
            CardVerdict(
                host="box", index=index, model=draw(names), total=total, uses=tuple(uses), free=free,
                verdict=draw(verdicts), reasons=(draw(names),), suggestions=tuple(draw(st.lists(names, max_size=3))),
            )
        )  # fmt: skip
    severities = st.sampled_from(list(Severity))
    notes = draw(st.lists(st.builds(Note, severity=severities, where=names, text=names), max_size=3))
    made = plans.plan(*replicas, cards=tuple(cards), notes=tuple(notes))
    return replace(made, stack=draw(names), profile=draw(names))


@given(plan=any_plan(), width=st.integers(40, 140))
def test_any_plan_can_be_shown(plan: Plan, width: int) -> None:
    file = io.StringIO()
    show(plan, Console(file=file, width=width, color_system=None))
    assert file.getvalue()
    assert all(line.isprintable() for line in lines(plan))
    assert to_markdown(plan).count("<details") == 1
    assert json.loads(to_json(plan))["applicable"] is not stops(plan)
    ET.fromstring(to_svg(plan))  # noqa: S314 - our own text
