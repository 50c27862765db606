"""Where things run: hosts, their cards, clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from berth.catalogue.units import Bytes
from berth.planner.plan.prerequisites import PrerequisitesPlan


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
class DataConnectionPlan:
    """A bucket of S3 with the names of the secrets that open it."""

    bucket: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str


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
    connections: Mapping[str, DataConnectionPlan] = field(default_factory=dict)
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
