"""Plans by hand, as the planner would make them, for the tests of reports."""

from __future__ import annotations

from dataclasses import replace

from berth.catalogue.units import Bytes
from berth.planner.plan import (
    Card,
    EnginePlan,
    HostPlan,
    ImageEngine,
    Local,
    Note,
    Plan,
    PythonPackages,
    RandomWeights,
    ReplicaPlan,
    Severity,
    Ssh,
)
from berth.planner.verdict import CardVerdict, ReplicaMemory, Term, Verdict

HOSTILE = "</title><script>alert(1)</script> [bold]|`x` @team #7 & \x1b[31mred\x07\n2nd"


def gib(number: float) -> Bytes:
    return Bytes.from_gib(number)


def memory(
    weights: float, cache: float, activations: float, overhead: float, *, verdict: Verdict = Verdict.FITS
) -> ReplicaMemory:
    terms = (
        Term(name="weights", size=gib(weights), source="safetensors headers"),
        Term(name="KV cache", size=gib(cache), source="context x concurrency"),
        Term(name="activations", size=gib(activations), source="profile run"),
        Term(name="CUDA context", size=gib(overhead), source="measured"),
    )
    used = Bytes(sum(term.size for term in terms))
    return ReplicaMemory(
        terms=terms,
        used=used,
        budget=used - gib(overhead),
        available_kv=gib(cache),
        kv_tokens=49152,
        max_concurrency=32.0,
        share=0.25,
        smallest_share=0.2,
        verdict=verdict,
    )


def replica(model: str, *, held: ReplicaMemory | None, cards: tuple[int, ...] = (0,), index: int = 0) -> ReplicaPlan:
    device = "cuda" if cards else "cpu"
    return ReplicaPlan(
        model=model,
        revision="main",
        index=index,
        host="box",
        cards=cards,
        port=8001 + index,
        engine=EnginePlan(
            name="vllm",
            version="0.10.1.1",
            device=device,
            installation=ImageEngine(image="vllm/vllm-openai:v0.10.1.1") if cards else PythonPackages(requirements=()),
        ),
        weights=RandomWeights(shape="tiny"),
        served_names=(model,),
        arguments={"max-model-len": 2048, "enforce-eager": True},
        environment={},
        secrets={"HF_TOKEN": "hf_token"},
        on_change="hold",
        start_order=index,
        start_timeout_s=600.0,
        stop_timeout_s=30.0,
        max_concurrency=24,
        memory=held,
    )


def card(*replicas: ReplicaPlan, index: int = 0, total: float = 31.84, model: str = "RTX 5090") -> CardVerdict:
    uses = tuple((one.name, one.memory.used) for one in replicas if one.memory)
    free = gib(total) - sum(size for _, size in uses)
    verdict = Verdict.DOES_NOT_FIT if free < 0 else Verdict.TIGHT if free < gib(1) else Verdict.FITS
    return CardVerdict(host="box", index=index, model=model, total=gib(total), uses=uses, free=free, verdict=verdict)


def plan(*replicas: ReplicaPlan, cards: tuple[CardVerdict, ...] = (), notes: tuple[Note, ...] = ()) -> Plan:
    host = HostPlan(
        name="box",
        connection=Ssh(host="10.0.0.5", user="ubuntu"),
        runtime="docker",
        root="/opt/berth",
        cards=tuple(Card(index=one.index, model=one.model, total=one.total) for one in cards),
    )
    return Plan(
        stack="rtx5090",
        profile="balanced",
        hosts={"box": host},
        replicas=replicas,
        gateway=None,
        smoke=(),
        cards=cards,
        notes=notes,
        secrets=frozenset({"hf_token"}),
    )


def note(severity: Severity, where: str, text: str) -> Note:
    return Note(severity=severity, where=where, text=text)


def three() -> Plan:
    """Three models on one card, with a note and a warning."""
    models = (
        replica("tinyllama", held=memory(2.05, 2.1, 0.25, 0.5), index=0),
        replica("qwen", held=memory(5.79, 1.45, 0.4, 0.5), index=1),
        replica("yi", held=memory(11.3, 2.2, 0.6, 0.5), index=2),
    )
    return plan(
        *models,
        cards=(card(*models),),
        notes=(
            note(Severity.NOTE, "models.yi", "17.2 GB were measured, which the share of 0.45 does not explain"),
            note(Severity.WARNING, "models.yi.args.use_v2_block_manager", "removed in vLLM 0.7.0; dropped"),
        ),
    )


def too_much() -> Plan:
    """One model that is larger than its card."""
    big = replica("llama", held=memory(15.0, 16.0, 1.2, 0.6, verdict=Verdict.DOES_NOT_FIT))
    verdict = replace(
        card(big, total=23.6, model="RTX 3090"),
        reasons=("llama needs 32.8 GiB, the card has 23.6 GiB",),
        suggestions=("lower context of models.llama to 65536",),
    )
    refusal = note(Severity.REFUSAL, "models.llama on box gpu 0", "needs 32.8 GiB, 23.6 GiB are there")
    return plan(big, cards=(verdict,), notes=(refusal,))


def split() -> Plan:
    """One model over two like cards."""
    wide = replica("llama", held=memory(7.6, 27.0, 0.8, 0.9), cards=(0, 1))
    return plan(wide, cards=tuple(card(wide, index=index, total=44.4, model="A40") for index in (0, 1)))


def without_gpu() -> Plan:
    """A model on the processor of this machine."""
    tiny = replica("tiny", held=None, cards=())
    made = plan(tiny)
    return replace(made, hosts={"box": replace(made.hosts["box"], connection=Local(), runtime="process")})


def hostile() -> Plan:
    """Names and texts that try to break out of every format."""
    evil = replica(HOSTILE, held=memory(1.0, 1.0, 0.5, 0.5))
    verdict = replace(card(evil, model=HOSTILE), reasons=(HOSTILE,), suggestions=(HOSTILE,))
    return replace(
        plan(evil, cards=(verdict,), notes=(note(Severity.WARNING, HOSTILE, HOSTILE),)),
        stack=HOSTILE,
        unbuilt=(HOSTILE,),
    )
