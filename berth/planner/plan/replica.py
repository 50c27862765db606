"""One running engine: how it is installed, what it is started with, what it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from berth.catalogue.units import Bytes
from berth.engines.contract import Arguments, Device, PythonPackages
from berth.planner.plan.adopted import AdoptedPlan
from berth.planner.plan.weights import HubWeights, Weights
from berth.planner.verdict import ReplicaMemory


@dataclass(frozen=True, kw_only=True)
class ExistingEngine:
    """An engine in an environment that is on the host already; `path` holds `bin/`."""

    path: str


@dataclass(frozen=True, kw_only=True)
class ImageEngine:
    """An engine in a container image, by tag or digest."""

    image: str


Installation = PythonPackages | ExistingEngine | ImageEngine


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """Which engine serves, in which version, and where it comes from."""

    name: Literal["vllm", "sglang", "tgi"]
    version: str
    device: Device
    installation: Installation


@dataclass(frozen=True, kw_only=True)
class InstancePlan:
    """What a container may use at most; None is as much as there is, or Docker's own size of shared memory.

    `least_cpus` and `least_memory` are what a cluster keeps for it.
    """

    cpus: float | None = None
    memory: Bytes | None = None
    shared_memory: Bytes | None = None
    least_cpus: float | None = None
    least_memory: Bytes | None = None


POD_ADAPTERS = "/mnt/adapters"
"""Where LoRA adapters lie in a pod; beside the model, since KServe wants one folder above all that it downloads."""


@dataclass(frozen=True, kw_only=True)
class PodPlan:
    """What a replica on a cluster is, beside its engine.

    `span` is on how many nodes it runs, in one pod each; `gpus` are cards of each pod, of the kind `resource` on nodes
    with the labels `nodes`; `runtime` names a ServingRuntime that is
    there already; `parked` keeps everything but the pods; `weights` are what the engine reads at its start, None where
    nothing is known of the model; `adapters` are where those of `ReplicaPlan.adapters` come from; `overlay` are fields
    of KServe's own that come over ours.
    """

    gpus: int
    span: int = 1
    resource: str = "nvidia.com/gpu"
    nodes: Mapping[str, str] = field(default_factory=dict)
    runtime: str | None = None
    parked: bool = False
    service: Literal["inference", "llm"] = "inference"
    overlay: Mapping[str, Any] = field(default_factory=dict)
    weights: Bytes | None = None
    adapters: tuple[Weights, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReplicaPlan:
    """One running engine.

    `arguments` are the engine's own flags without their dashes, in rendering order and without model, host and port,
    which the component adds. `environment` holds plain values, `secrets` maps an environment name to a secret's name.
    `why` says by which figures `on_change` was chosen, `spare_port` is where a second engine listens during a surge (0:
    there is no port left). `address` is where its port listens, `adapters` are folders of the host that the arguments
    name, `hub_adapters` those that it downloads, by what stands for their folders there, `pod` what it is on a cluster.
    Times are in seconds.
    """

    model: str
    revision: str
    index: int
    host: str
    cards: tuple[int, ...]
    port: int
    engine: EnginePlan
    weights: Weights
    served_names: tuple[str, ...]
    arguments: Arguments
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    on_change: Literal["surge", "hold", "refuse"]
    start_order: int
    start_timeout_s: float
    stop_timeout_s: float
    max_concurrency: int
    memory: ReplicaMemory | None = None
    address: str = "127.0.0.1"
    why: str = ""
    spare_port: int = 0
    adapters: tuple[str, ...] = ()
    hub_adapters: Mapping[str, HubWeights] = field(default_factory=dict)
    instance: InstancePlan | None = None
    adopted: AdoptedPlan | None = None
    pod: PodPlan | None = None

    @property
    def name(self) -> str:
        """The replica's name, unique in the stack: `qwen-main-0`."""
        return f"{self.model}-{self.revision}-{self.index}"

    @property
    def service_name(self) -> str:
        """What its revision is called on a cluster."""
        return service_name(self.model, self.revision)


def revision_name(model: str, revision: str) -> str:
    """What clients call one revision of a model."""
    return f"{model}@{revision}"


def service_name(model: str, revision: str) -> str:
    """What a revision is called on a cluster; one called `main` has the model's own name."""
    return model if revision == "main" else f"{model}-{revision}"
