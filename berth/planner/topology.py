"""Cards that work together: how they reach each other, and what NCCL has to be told of it.

NCCL chooses its way by itself; NCCL_P2P_DISABLE sends everything through the machine's memory instead
(https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html). Over PCIe that is the cure for starts that hang
where an IOMMU or ACS stands between the cards, as in some rented machines; beside a bridge it only costs speed
(vllm-project/vllm#8087, NVIDIA/nccl#2079).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from berth.facts import HostFacts
from berth.planner.notes import remark, warning
from berth.planner.placement import firsts
from berth.planner.plan import Note
from berth.planner.servings import Sized

_OFF = "NCCL_P2P_DISABLE"

_WAYS = {
    "PIX": "one PCIe switch",
    "PXB": "several PCIe switches",
    "PHB": "a PCIe host bridge of the CPU",
    "NODE": "PCIe host bridges of one CPU",
    "SYS": "the link between two CPUs",
}
"""What joins two cards, in the order from near to far: the legend of `nvidia-smi topo -m`."""


def topology(sizes: Sequence[Sized], facts: Mapping[str, HostFacts]) -> Iterator[Note]:
    """What is worth knowing of each revision whose replicas take several cards; where they have NVSwitches, nothing."""
    first = firsts(one.seat for one in sizes)
    for one in sizes:
        seat = one.seat
        if seat.name not in first or len(seat.cards) < 2 or one.gpu is None or one.gpu.nvswitch:
            continue
        known = facts[seat.host].links if seat.host in facts else {}
        pairs = [known.get(f"{a}-{b}", "") for a, b in combinations(sorted(seat.cards), 2)]
        off = seat.spec.environment.get(_OFF, "0") not in {"", "0"}
        where = f"{seat.where}.environment.{_OFF}" if off else f"{seat.where}.parallel"
        if all(pair.startswith("NV") for pair in pairs):
            if off:
                text = f"is set although NVLink ({pairs[0]}) joins the cards: NCCL does not use it then; leave it out"
                yield warning(where, text)
            continue
        way = _WAYS.get(max(pairs, key=lambda pair: list(_WAYS).index(pair) if pair in _WAYS else -1), "")
        if off and way:
            text = (
                f"is set: the cards, joined by {way}, talk through the machine's memory. Direct transfers are faster "
                "where `nvidia-smi topo -p2p r` says OK and a start without it does not hang"
            )
            yield remark(where, text)
        elif not off:
            how = f"over {way}" if way else "over PCIe unless an NVLink bridge joins them"
            text = (
                f"{len(seat.cards)} cards of {seat.host} talk {how}; where starting hangs in NCCL, set environment "
                f"{_OFF}: 1"
            )
            yield remark(where, text)
