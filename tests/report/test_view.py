"""What all formats share: parts of memory, like cards, one word for the whole, safe text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.catalogue.units import Bytes
from berth.planner.plan import ClusterPlan, Plan, Severity
from berth.planner.verdict import CardVerdict, Verdict
from berth.report.view import (
    Outcome,
    Part,
    advice,
    clean,
    conclusion,
    gpu_memory,
    hosts,
    outcome,
    part_of,
    remarks,
    stops,
)
from tests.report import plans


@pytest.mark.parametrize(
    ("term", "part"),
    [
        ("weights", Part.WEIGHTS),
        ("LoRA adapters", Part.WEIGHTS),
        ("KV cache", Part.KV),
        ("kv_cache", Part.KV),
        ("activations", Part.ACTIVATIONS),
        ("CUDA graphs", Part.ACTIVATIONS),
        ("CUDA context", Part.OVERHEAD),
        ("NCCL buffers", Part.OVERHEAD),
    ],
)
def test_every_term_belongs_to_a_part(term: str, part: Part) -> None:
    assert part_of(term) is part


def test_like_cards_are_shown_once() -> None:
    (host,) = hosts(plans.split())
    assert [card.title for card in host.cards] == ["gpus 0, 1"]
    assert host.cards[0].hardware == "2 x A40, 44.4 GiB each"


def test_what_a_card_carries_beyond_the_explained_is_overhead() -> None:
    verdict = CardVerdict(
        host="box", index=0, model="A40", total=plans.gib(44.4), uses=(("another process", plans.gib(3)),),
        free=plans.gib(41.4), verdict=Verdict.FITS,
    )  # fmt: skip
    (host,) = hosts(plans.plan(cards=(verdict,)))
    (use,) = host.cards[0].uses
    assert use.parts[Part.OVERHEAD] == plans.gib(3)
    assert use.memory is None


def test_a_card_that_says_why_speaks_for_its_replicas() -> None:
    held = replace(plans.memory(1, 1, 0, 0), verdict=Verdict.TIGHT, reasons=("little is left",), suggestions=("less",))
    one = plans.replica("qwen", held=held)
    silent = replace(plans.card(one), verdict=Verdict.TIGHT)
    (host,) = hosts(plans.plan(one, cards=(silent,)))
    assert list(advice(host.cards[0])) == [("because", "qwen-main-0: little is left"), ("for more room", "less")]
    (host,) = hosts(plans.plan(one, cards=(replace(silent, reasons=("qwen is tight",), suggestions=("a", "b")),)))
    assert list(advice(host.cards[0])) == [("because", "qwen is tight"), ("for more room", "a"), ("or", "b")]


def test_a_replica_without_gpu_memory_is_listed() -> None:
    (host,) = hosts(plans.without_gpu())
    assert [replica.name for replica in host.others] == ["tiny-main-0"]


def test_a_cluster_is_listed_with_its_replicas() -> None:
    cluster = ClusterPlan(name="ai", kind="openshift-ai", namespace="llm", mode="standard")
    on_cluster = replace(plans.replica("granite", held=None, cards=()), host="ai")
    found = hosts(replace(plans.plan(on_cluster), clusters={"ai": cluster}))
    assert [(host.name, len(host.others)) for host in found] == [("box", 0), ("ai", 1)]


def test_a_replica_on_no_card_says_what_it_needs_of_one() -> None:
    assert gpu_memory(plans.replica("granite", held=plans.memory(15, 4, 1, 0.5))) == "20.5 GiB per GPU, fits"
    assert gpu_memory(plans.replica("granite", held=None)) == "not known"
    assert gpu_memory(plans.replica("granite", held=None, cards=())) == "none"


@pytest.mark.parametrize(
    ("plan", "word", "stopped"),
    [
        (plans.three(), Outcome.FITS, False),
        (plans.without_gpu(), Outcome.FITS, False),
        (plans.too_much(), Outcome.DOES_NOT_FIT, True),
        (replace(plans.three(), notes=(plans.note(Severity.REFUSAL, "a", "b"),)), Outcome.REFUSED, True),
    ],
)
def test_one_word_says_the_whole(plan: Plan, word: Outcome, stopped: bool) -> None:
    assert outcome(plan) is word
    assert stops(plan) is stopped


@pytest.mark.parametrize("verdict", [Verdict.TIGHT, Verdict.UNKNOWN])
def test_tight_and_unknown_do_not_stop(verdict: Verdict) -> None:
    plan = plans.three()
    plan = replace(plan, cards=(replace(plan.cards[0], verdict=verdict),))
    assert outcome(plan).value == verdict.value
    assert not stops(plan)


def test_refusals_come_first_and_what_cannot_be_applied_yet_is_said() -> None:
    plan = replace(plans.three(), unbuilt=("docker: is planned, not applied yet",))
    again = plans.note(Severity.WARNING, "docker", "is planned, not applied yet")
    plan = replace(plan, notes=(*plan.notes, again, plans.note(Severity.REFUSAL, "x", "y")))
    assert [word for word, _ in remarks(plan)] == ["refusal", "warning", "not yet", "note"]


def test_the_conclusion_names_the_card_with_the_least_room() -> None:
    plan = plans.split()
    plan = replace(plan, cards=(plan.cards[0], replace(plan.cards[1], free=Bytes.from_gib(2))))
    assert conclusion(plan) == "1 replica on 2 GPUs; 2.0 GiB free on box gpu 1, the fullest"


def test_clean_text_is_one_line_without_control_characters() -> None:
    assert clean("a\nb\x1b[0m\u202ec\x00") == "a b[0mc"
