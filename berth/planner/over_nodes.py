"""Replicas on a cluster that take more cards than one of its nodes has."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from berth.planner.notes import refusal
from berth.planner.placement import Seat
from berth.planner.plan import Note
from berth.spec.hosts import Cluster, ClusterGpus

_OVER_NODES_SINCE = Version("0.11.1")
"""vLLM's release that runs on several nodes by itself (--nnodes)."""


def kind_of(seat: Seat, cluster: Cluster) -> ClusterGpus | None:
    """The kind of card that a replica takes: the one it names, else the cluster's first."""
    named = (kind for kind in cluster.gpus if seat.place.gpu in {None, kind.model})
    return next(named, None)


def span_of(seat: Seat, cluster: Cluster) -> int:
    """On how many nodes a replica runs: on several where its cards are more than one has."""
    kind = kind_of(seat, cluster)
    if kind is None or kind.per_node is None or seat.size <= kind.per_node:
        return 1
    return -(-seat.size // kind.per_node)


def over_nodes(cluster: Cluster, seat: Seat) -> Iterator[Note]:
    """What a replica must say that takes more cards than a node has."""
    kind, span = kind_of(seat, cluster), span_of(seat, cluster)
    if kind is None or kind.per_node is None or span == 1:
        return
    needs = f"{seat.size} cards are needed and a node of {seat.host} has {kind.per_node}"
    if (seat.tensor, seat.pipeline) != (kind.per_node, span) or seat.spec.parallel.data > 1:
        text = f"is tensor {seat.tensor} x pipeline {seat.pipeline} x data {seat.spec.parallel.data}, must be"
        wanted = f"tensor {kind.per_node} x pipeline {span}: {needs}, and the cards of one layer stay on one"
        yield refusal(f"{seat.where}.parallel", f"{text} {wanted}")
    if seat.place.service != "llm":
        text = f"is inference, must be llm: {needs}, and only an LLMInferenceService runs on several"
        yield refusal(f"{seat.where}.place.service", text)
    engine = seat.spec.engine
    if engine.name != "vllm" or (engine.version is not None and Version(engine.version) < _OVER_NODES_SINCE):
        text = f"is {engine.name} {engine.version or ''}".rstrip()
        least = f"vllm {_OVER_NODES_SINCE} or newer"
        yield refusal(f"{seat.where}.engine", f"{text}, must be {least}: {needs}, and older ones ask for Ray")
