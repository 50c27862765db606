"""Where models run: hosts and groups of like hosts, clusters, instance types and quotas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from berth.spec.prerequisites import Prerequisites
from berth.spec.values import (
    RESOURCE,
    RUNTIME,
    Count,
    Index,
    Name,
    Port,
    SecretName,
    Section,
    Size,
    Text,
    lacking,
    wrong,
)


class Ssh(Section):
    """How a machine is reached over SSH. Secrets are names; their values come from Pulumi's configuration."""

    host: Text
    """Name or address of the machine."""
    user: Text | None = None
    """The user to log in as; left out, that of the ssh configuration or the one who runs Berth."""
    port: Port = 22
    """The port of the machine's SSH server."""
    host_key: Text | None = None
    """The machine's public key, as `berth hostkey` prints it; left out, that of ~/.ssh/known_hosts."""
    key_file: Text | None = None
    """The private key file to log in with; left out, the agent's and the usual ones are tried."""
    sudo_password: SecretName | None = None
    """The secret that sudo asks for on that machine, where it asks."""
    proxy_jump: Text | None = None
    """A machine to go through, as `user@host:port`."""


class SshConnection(Section):
    """A machine reached over SSH."""

    ssh: Ssh
    """How the machine is reached over SSH."""


def _local(value: object) -> object:
    if value != "local":
        raise wrong(f"is {value!r}, must be local or a mapping with ssh")
    return value


def _connection_kind(value: object) -> str:
    return "|ssh" if isinstance(value, dict | SshConnection) else "|local"


Connection = Annotated[
    Annotated[Literal["local"], BeforeValidator(_local), Tag("|local")] | Annotated[SshConnection, Tag("|ssh")],
    Discriminator(_connection_kind),
]


class Gpus(Section):
    """Like GPUs of one machine or of one cluster's nodes."""

    model: Text
    """The GPU's name in the catalogue, such as rtx-5090 or a40."""
    count: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many of them there are."""
    memory: Size | None = None
    """Memory of one card as its driver reports it; left out, the catalogue's (MIG slices and ECC change it)."""


class DataConnection(Section):
    """Where a bucket of S3 is and who may read it; on a cluster it becomes a secret of the namespace."""

    bucket: Text
    """The bucket."""
    endpoint: Annotated[Text, Field(pattern=r"^https?://[^/\s]+/?$")] = "https://s3.amazonaws.com"
    """The storage's address."""
    region: Text = "us-east-1"
    """The bucket's region."""
    access_key: SecretName
    """The secret with the access key's id."""
    secret_key: SecretName
    """The secret with the access key itself."""


class Host(Section):
    """One machine."""

    group: Name | None = None
    """A group whose settings this host shares; what the host says itself comes first."""
    connection: Connection
    """How the machine is reached: `local`, or `ssh` with its settings."""
    gpus: tuple[Gpus, ...] = ()
    """The machine's GPUs in the order of their indices; none means that engines run on its CPU."""
    cores: Annotated[int, Field(ge=1, le=4096)] | None = None
    """CPU cores of the machine, for plans without access; what is found there comes first."""
    memory: Size | None = None
    """Memory of the machine (not of its GPUs), for plans without access; what is found there comes first."""
    runtime: Literal["process", "docker"] = "process"
    """What engines run as: supervised processes, or containers."""
    root: Text = "~/.local/share/berth"
    """The folder on the machine for all that the stack makes there; a relative one is below the project, or over SSH
    below the home of who logs in."""
    cache: Text | None = None
    """The folder for downloaded weights, such as ~/.cache/huggingface; left out, one below `root`."""
    connections: Mapping[Name, DataConnection] = Field(default_factory=dict)
    """Buckets of S3 from which the machine downloads weights, by the name that models give as `connection`."""
    init: Literal["auto", "systemd", "supervisord"] = "auto"
    """What keeps processes running; auto takes systemd where it runs and supervisord elsewhere."""
    engine_ports: Annotated[int, Field(ge=1024, le=64536)] = 20000
    """First of the 1000 loopback ports from which engines on this machine get theirs."""
    prerequisites: Prerequisites = Prerequisites()
    """What Berth installs and sets on the machine; what is absent is only verified."""


class Toleration(Section):
    """A taint of nodes that a model's pods put up with."""

    key: Text
    """The taint's key."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """Whether the taint must exist, or have a value."""
    value: Text | None = None
    """The value that Equal asks for."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = "NoSchedule"
    """The taint's effect."""


class ClusterGpus(Gpus):
    """Like GPUs of a cluster's nodes."""

    resource: Annotated[str, Field(pattern=RESOURCE)] = "nvidia.com/gpu"
    """The name under which nodes offer them; a slice by MIG has another, such as nvidia.com/mig-1g.10gb."""
    nodes: Mapping[Text, Text] = Field(default_factory=dict)
    """Labels of the nodes that have them, where a cluster has several kinds."""
    per_node: Annotated[int, Field(ge=1, le=1024)] | None = None
    """How many of them one node has; a replica that takes more runs on several. Left out, each fits one node."""


class Cluster(Section):
    """One Kubernetes cluster with KServe, or Red Hat OpenShift AI."""

    kind: Literal["kserve", "openshift-ai"] = "kserve"
    """Which platform the cluster runs."""
    version: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] | None = None
    """The release of KServe there, in quotes; left out, as found on the cluster, or 0.17."""
    kubeconfig: SecretName | None = None
    """The secret that holds the kubeconfig; left out, kubectl's own configuration is used."""
    context: Text | None = None
    """The kubeconfig's context."""
    namespace: Name
    """The namespace in which models are made."""
    create_namespace: bool = False
    """Make the namespace, and remove it with the stack."""
    adopt: bool = False
    """Take over objects of the same names that are there already; otherwise they are refused."""
    mode: Literal["standard", "knative"] = "standard"
    """KServe's deployment mode (before: RawDeployment and Serverless)."""
    expose: bool = False
    """Give each model an address of its own outside the cluster; behind a gateway nobody needs it."""
    gpus: tuple[ClusterGpus, ...] = ()
    """The kinds of GPU that the cluster's nodes have."""
    runtime_class: Name | None = None
    """The RuntimeClass of pods with GPUs, such as nvidia on k3s."""
    tolerations: tuple[Toleration, ...] = (Toleration(key="nvidia.com/gpu"),)
    """Taints that pods with GPUs put up with."""
    connections: Mapping[Name, DataConnection] = Field(default_factory=dict)
    """Data connections that Berth makes; others that models name must be in the namespace already."""
    display_name: Text | None = None
    """The serving runtime's name in the OpenShift AI dashboard; its resource name follows from model and revision."""

    @model_validator(mode="after")
    def _names(self) -> Cluster:
        if self.display_name is not None and self.kind != "openshift-ai":
            raise wrong("is given, must be left out: only the openshift-ai dashboard shows it", "display_name")
        return self


class Instance(Section):
    """An instance type: what one replica asks of its machine beside GPUs."""

    cpu: Annotated[float, Field(gt=0, le=1024)]
    """CPU cores that are kept for the replica."""
    cpu_limit: Annotated[float, Field(gt=0, le=1024)] | None = None
    """CPU cores that the replica may use at most."""
    memory: Size
    """Memory that is kept for the replica."""
    memory_limit: Size | None = None
    """Memory that the replica may use at most."""
    shared_memory: Size | None = None
    """Size of /dev/shm, which tensor parallelism needs."""

    @model_validator(mode="after")
    def _limits(self) -> Instance:
        if self.cpu_limit is not None and self.cpu_limit < self.cpu:
            raise wrong(f"is {self.cpu_limit:g}, must be at least cpu ({self.cpu:g})", "cpu_limit")
        if self.memory_limit is not None and self.memory_limit < self.memory:
            raise wrong(f"is {self.memory_limit}, must be at least memory ({self.memory})", "memory_limit")
        return self


class Quota(Section):
    """How many GPUs a group of models may use together."""

    gpus: Annotated[int, Field(ge=0, le=100_000)]
    """GPUs in all, over every replica of every model with this quota."""


_OF_HOSTS = {
    "port": "each pod has an address of its own",
    "address": "each pod has an address of its own",
}
_OF_CLUSTERS = {
    "gpu": "a host's cards are known by index",
    "runtime": "it is for clusters",
    "service": "it is for clusters",
    "overlay": "it is for clusters",
}
"""Keys of a place that only make sense on one of the two, and why."""


class Place(Section):
    """Where replicas of a model run: on one host, on every host of a group, or on a cluster."""

    host: Name | None = None
    """A host of this stack."""
    group: Name | None = None
    """A group of hosts: the replicas below on each of them."""
    cluster: Name | None = None
    """A cluster of this stack."""
    gpus: Annotated[
        Annotated[Annotated[int, Field(ge=1, le=1024)], Tag("|count")] | Annotated[tuple[Index, ...], Tag("|indices")],
        Discriminator(lambda value: "|indices" if isinstance(value, tuple | list) else "|count"),
    ] = Field(default=())
    """Indices of the cards that the replicas use; or how many each uses, and the planner chooses the emptiest."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many replicas run here; given indices are dealt out to them in order."""
    port: Port | None = None
    """A fixed port for the engine on the host; left out, one of the host's engine_ports."""
    address: Annotated[Text, Field(pattern=r"^[0-9a-fA-F.:]+$")] = "127.0.0.1"
    """The address on which the engine's port listens; 0.0.0.0 opens it to the network, with no key asked."""
    gpu: Text | None = None
    """On a cluster with several kinds of GPU, the kind to use."""
    runtime: Annotated[str, Field(pattern=RUNTIME)] | None = None
    """On a cluster, the resource name of a ServingRuntime that is there already; left out, Berth makes one."""
    service: Literal["inference", "llm"] = "inference"
    """On a cluster, what KServe is given: an InferenceService or an LLMInferenceService."""
    overlay: Mapping[Text, Any] = Field(default_factory=dict)
    """On a cluster, fields of KServe's own (of the predictor, or of an LLMInferenceService) over those that Berth
    writes; checked against KServe's release there."""

    @model_validator(mode="after")
    def _one_place(self) -> Place:
        places = [name for name in ("host", "group", "cluster") if getattr(self, name) is not None]
        if not places:
            raise lacking("names no place, must name one of host, group or cluster")
        if len(places) > 1:
            raise wrong(f"names {' and '.join(places)}, must name one of host, group or cluster")
        if isinstance(self.gpus, tuple) and len(set(self.gpus)) != len(self.gpus):
            raise wrong(f"names a card twice ({list(self.gpus)}), must name each once", "gpus")
        if isinstance(self.gpus, tuple) and self.gpus and self.cluster is not None:
            raise wrong("is a list, must be a number: a cluster chooses the cards itself", "gpus")
        if self.port is not None and (self.replicas > 1 or self.group is not None):
            raise wrong("is given for several replicas, must be left out or given for one alone", "port")
        return self

    @model_validator(mode="after")
    def _of_its_kind(self) -> Place:
        for key, why in _OF_HOSTS.items() if self.cluster is not None else ():
            if key in self.model_fields_set:
                raise wrong(f"is given on a cluster, must be left out: {why}", key)
        for key, why in _OF_CLUSTERS.items() if self.cluster is None else ():
            if key in self.model_fields_set:
                raise wrong(f"is given on a host, must be left out: {why}", key)
        if self.runtime is not None and self.service == "llm":
            raise wrong("is given beside service: llm, must be one of the two: the latter has no runtime", "runtime")
        return self

    @property
    def asked(self) -> Count:
        """How many cards are named or asked for; 0 when the planner decides."""
        return self.gpus if isinstance(self.gpus, int) else len(self.gpus)
