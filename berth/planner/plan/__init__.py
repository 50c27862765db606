"""The plan: what the planner decided, as frozen values that every later room reads.

Nothing here decides anything. Components turn a `Plan` into resources, `berth.gateway` turns its `GatewayPlan` into
Envoy files, `berth.report` prints it. Names are the field's: a replica is one running engine of a revision of a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from berth.engines.contract import PythonPackages
from berth.planner.plan.gateway import ENVOY_IMAGE, EdgePlan, GatewayPlan, KeyPlan, ModelRoute, RevisionShare, TlsPlan
from berth.planner.plan.notes import Note, Severity
from berth.planner.plan.places import Card, ClusterPlan, DataConnectionPlan, HostPlan, Local, Ssh, TolerationPlan
from berth.planner.plan.replica import (
    POD_ADAPTERS,
    EnginePlan,
    ExistingEngine,
    ImageEngine,
    Installation,
    InstancePlan,
    PodPlan,
    ReplicaPlan,
    revision_name,
    service_name,
)
from berth.planner.plan.watching import LoadPlan, MonitoringPlan, MonitorPlan, SmokePlan
from berth.planner.plan.weights import (
    HubWeights,
    OciWeights,
    PathWeights,
    PvcWeights,
    RandomWeights,
    S3Weights,
    Weights,
)
from berth.planner.verdict import CardVerdict, Verdict

__all__ = [
    "ENVOY_IMAGE",
    "POD_ADAPTERS",
    "Card",
    "ClusterPlan",
    "DataConnectionPlan",
    "EdgePlan",
    "EnginePlan",
    "ExistingEngine",
    "GatewayPlan",
    "HostPlan",
    "HubWeights",
    "ImageEngine",
    "Installation",
    "InstancePlan",
    "KeyPlan",
    "LoadPlan",
    "Local",
    "ModelRoute",
    "MonitorPlan",
    "MonitoringPlan",
    "Note",
    "OciWeights",
    "PathWeights",
    "Plan",
    "PodPlan",
    "PvcWeights",
    "PythonPackages",
    "RandomWeights",
    "ReplicaPlan",
    "RevisionShare",
    "S3Weights",
    "Severity",
    "SmokePlan",
    "Ssh",
    "TlsPlan",
    "TolerationPlan",
    "Weights",
    "revision_name",
    "service_name",
]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything decided about one stack. `replicas` stand in start order.

    `parked` are those without an engine, of revisions that have no traffic: their weights and environments are kept.
    `unbuilt` says, one sentence each, what the stack asks for that can be planned but not applied yet.
    """

    stack: str
    profile: str
    hosts: Mapping[str, HostPlan]
    replicas: tuple[ReplicaPlan, ...]
    gateway: GatewayPlan | None
    smoke: tuple[SmokePlan, ...]
    cards: tuple[CardVerdict, ...]
    notes: tuple[Note, ...]
    secrets: frozenset[str]
    clusters: Mapping[str, ClusterPlan] = field(default_factory=dict)
    load: tuple[LoadPlan, ...] = ()
    monitoring: MonitoringPlan | None = None
    unbuilt: tuple[str, ...] = ()
    parked: tuple[ReplicaPlan, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all cards; a stack without cards fits."""
        return Verdict.worst(card.verdict for card in self.cards)

    @property
    def refusals(self) -> tuple[Note, ...]:
        """The notes that stop the plan, in the order of the stack file."""
        return tuple(note for note in self.notes if note.severity is Severity.REFUSAL)
