"""The plan: what the planner decided, as frozen values that every later room reads.

Nothing here decides anything. Components turn a `Plan` into resources, `berth.gateway` turns its `GatewayPlan` into
Envoy files, `berth.report` prints it. Names are the field's: a replica is one running engine of a revision of a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from berth.catalogue.units import Bytes
from berth.planner.adopted_plan import AdoptedPlan
from berth.planner.prerequisites_plan import PrerequisitesPlan
from berth.planner.verdict import CardVerdict, ReplicaMemory, Verdict

Argument = str | int | float | bool | None
"""The value of one engine flag; True is a bare flag, False its `--no-` form, None leaves the flag out."""


class Severity(StrEnum):
    """How much a note matters to the reader of a plan."""

    NOTE = "note"
    WARNING = "warning"
    REFUSAL = "refusal"


@dataclass(frozen=True, kw_only=True)
class Note:
    """One sentence about one place in the stack file: where, what is, what must be, what to do."""

    severity: Severity
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Local:
    """The machine that runs Pulumi."""


@dataclass(frozen=True, kw_only=True)
class Ssh:
    """A machine reached over SSH; `secrets` are names, never values."""

    host: str
    user: str | None = None
    port: int = 22
    host_key: str | None = None
    key_file: str | None = None
    sudo_password: str | None = None
    proxy_jump: str | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """One GPU of a host, by its index there; total is what the driver reports."""

    index: int
    model: str
    total: Bytes


@dataclass(frozen=True, kw_only=True)
class HostPlan:
    """One machine. `root` is the folder on it that holds everything this stack makes.

    `declares` are the parts of its prerequisites that the stack file names; `prerequisites` what they come to on the
    machine that was found, None where nothing is declared or the machine was never observed.
    """

    name: str
    connection: Local | Ssh
    runtime: Literal["process", "docker"]
    root: str
    init: Literal["auto", "systemd", "supervisord"] = "auto"
    cache: str | None = None
    cards: tuple[Card, ...] = ()
    declares: frozenset[str] = frozenset()
    prerequisites: PrerequisitesPlan | None = None


@dataclass(frozen=True, kw_only=True)
class TolerationPlan:
    """A taint of nodes that pods with GPUs put up with."""

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: str | None = "NoSchedule"


@dataclass(frozen=True, kw_only=True)
class DataConnectionPlan:
    """A bucket of S3 with the names of the secrets that open it."""

    bucket: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, kw_only=True)
class ClusterPlan:
    """One Kubernetes cluster; a replica on it has the cluster's name as its host, no cards and port 8080.

    `version` is KServe's, None where the stack file leaves it to the cluster. `spare` says how many cards of each
    resource no model uses; a resource of which the stack file gives no number is not in it.
    """

    name: str
    kind: Literal["kserve", "openshift-ai"]
    namespace: str
    mode: Literal["standard", "knative"]
    kubeconfig: str | None = None
    context: str | None = None
    version: str | None = None
    create_namespace: bool = False
    adopt: bool = False
    expose: bool = False
    runtime_class: str | None = None
    display_name: str | None = None
    tolerations: tuple[TolerationPlan, ...] = ()
    connections: Mapping[str, DataConnectionPlan] = field(default_factory=dict)
    spare: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HubWeights:
    """A model on the Hugging Face hub at a pinned commit; `token` names a secret."""

    repo: str
    revision: str
    token: str | None = None
    endpoint: str = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class PathWeights:
    """A model folder that already lies on the host."""

    path: str


@dataclass(frozen=True, kw_only=True)
class RandomWeights:
    """A tiny model of random weights that Berth writes itself; `shape` names an entry of the catalogue."""

    shape: str


@dataclass(frozen=True, kw_only=True)
class S3Weights:
    """A model folder in an S3 bucket; `connection` names a cluster's data connection. Clusters only, so far."""

    url: str
    connection: str | None = None


@dataclass(frozen=True, kw_only=True)
class OciWeights:
    """A model in an OCI image. Clusters only, so far."""

    image: str


@dataclass(frozen=True, kw_only=True)
class PvcWeights:
    """A model folder of a volume claim in a cluster's namespace."""

    claim: str
    path: str = ""


Weights = HubWeights | PathWeights | RandomWeights | S3Weights | OciWeights | PvcWeights


@dataclass(frozen=True, kw_only=True)
class PackagedEngine:
    """An engine installed from Python packages into an environment of its own.

    `requirements` and `overrides` are pinned lines as uv reads them; `overlay` maps a path below site-packages to the
    text of a file that is added there after the installation.
    """

    requirements: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    overlay: Mapping[str, str] = field(default_factory=dict)
    python: str = "3.11"


@dataclass(frozen=True, kw_only=True)
class ExistingEngine:
    """An engine in an environment that is on the host already; `path` holds `bin/`."""

    path: str


@dataclass(frozen=True, kw_only=True)
class ImageEngine:
    """An engine in a container image, by tag or digest."""

    image: str


Installation = PackagedEngine | ExistingEngine | ImageEngine


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """Which engine serves, in which version, and where it comes from."""

    name: Literal["vllm", "sglang", "tgi"]
    version: str
    device: Literal["cuda", "cpu"]
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

    `gpus` are cards of the kind `resource` on nodes with the labels `nodes`; `runtime` names a ServingRuntime that is
    there already; `parked` keeps everything but the pods; `weights` are what the engine reads at its start, None where
    nothing is known of the model; `adapters` are where those of `ReplicaPlan.adapters` come from; `overlay` are fields
    of KServe's own that come over ours.
    """

    gpus: int
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
    arguments: Mapping[str, Argument | Sequence[str]]
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


@dataclass(frozen=True, kw_only=True)
class KeyPlan:
    """A client of the gateway; `secret` names its key, None means that Berth generates one.

    `models` are the own names of those it may use, none means all. `concurrent` is how many requests it may have at a
    time to one model.
    """

    name: str
    secret: str | None = None
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    concurrent: int | None = None

    @property
    def free(self) -> bool:
        """Whether nothing is kept from this client."""
        return not self.models and self.requests_per_minute is None and self.concurrent is None


@dataclass(frozen=True, kw_only=True)
class RevisionShare:
    """A revision of a model as the gateway sees it: its share of the traffic in whole percent, its replicas."""

    revision: str
    percent: int
    replicas: tuple[str, ...]
    max_concurrency: int
    max_model_len: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelRoute:
    """How the gateway reaches one served model; `aliases` are further names clients may use.

    `representative` is the revision whose settings stand for the model's. `path_prefix` (`/qwen/`) is another way to
    this model alone: what follows it is what the engine is asked.
    """

    name: str
    aliases: tuple[str, ...]
    revisions: tuple[RevisionShare, ...]
    max_model_len: int | None = None
    created: int = 0
    path_prefix: str | None = None
    representative: str = ""


@dataclass(frozen=True, kw_only=True)
class TlsPlan:
    """How the gateway encrypts: with a certificate of the user's, or one that Berth signs itself for `names`.

    `certificate` and `key` are files on the gateway's host, both None for a self-signed one.
    """

    names: tuple[str, ...]
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """What stands between clients outside a cluster and its gateway.

    `host` is the name that clients use (None where the cluster gives one), `gateway` an HTTPRoute's Gateway by its
    namespace and name.
    """

    kind: Literal["route", "ingress", "gateway-api"]
    host: str | None = None
    ingress_class: str | None = None
    tls_secret: str | None = None
    gateway: tuple[str, str] | None = None


ENVOY_IMAGE = "envoyproxy/envoy:v1.40.0"
"""Envoy's own image of the release that the gateway's configuration is made for."""


@dataclass(frozen=True, kw_only=True)
class GatewayPlan:
    """The OpenAI-compatible door of the stack.

    `bind` is the address it listens on; `open` asks no one for a key; `image` is what it runs in on a Docker host or on
    a cluster, whose name is `host` then.
    """

    host: str
    bind: str
    port: int
    admin_port: int
    metrics_port: int
    open: bool
    keys: tuple[KeyPlan, ...]
    models: tuple[ModelRoute, ...]
    max_body: Bytes
    idle_timeout_s: float
    hold_limit_s: float
    url: str | None = None
    tls: TlsPlan | None = None
    image: str = ENVOY_IMAGE
    edge: EdgePlan | None = None


@dataclass(frozen=True, kw_only=True)
class SmokePlan:
    """What the proof asks of one model.

    `text`: the prompts as completions, the first as a streamed chat too; `image`: the same with an image beside the
    chat; `embedding` and `score`: what such models answer; `list`: only that the model is there.
    """

    model: str
    prompts: tuple[str, ...]
    timeout_s: float
    asks: Literal["text", "image", "embedding", "score", "list"] = "text"


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """The load that the proof puts on one model: `n` requests, `c` at a time; times in seconds.

    `success` is the least share that must be answered; None asks nothing of the other two.
    """

    model: str
    n: int
    c: int
    prompt: str
    max_tokens: int
    timeout_s: float
    within_s: float
    success: float
    ttft_s: float | None
    tokens_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class MonitorPlan:
    """One part of what watches a host, in a container that listens on loopback."""

    image: str
    port: int


@dataclass(frozen=True, kw_only=True)
class MonitoringPlan:
    """What watches the engines and the gateway of one host; `retention_s` is how long Prometheus keeps its numbers."""

    host: str
    gpu: MonitorPlan | None = None
    prometheus: MonitorPlan | None = None
    grafana: MonitorPlan | None = None
    retention_s: float = 0


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
