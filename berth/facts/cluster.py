"""What a cluster is, as far as a plan needs it: which objects it takes, what is there already, what is free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Taint(_Fact):
    """A taint of a node."""

    key: str
    value: str = ""
    effect: str


class Node(_Fact):
    """A node that pods may be given to; `free` counts what device plugins offer there and no pod asks for."""

    name: str
    labels: Mapping[str, str] = {}
    taints: tuple[Taint, ...] = ()
    free: Mapping[str, int] = {}


class Quota(_Fact):
    """How much of one resource the pods of the namespace may ask for together, and what they do; as Kubernetes counts.

    A resource is named as in quotas: `requests.nvidia.com/gpu`.
    """

    name: str
    resource: str
    most: int
    used: int


class ClusterFacts(_Fact):
    """A cluster as it was found.

    `kinds` are those that are served, of the groups that Berth makes objects of: `serving.kserve.io/v1beta1/
    InferenceService`. `objects` says of each kind what the namespace has, by name, and the stack that made it (empty
    where none did). `ours` counts the cards that pods of a service of the namespace ask for, by node, service and
    resource. `nodes` is None where the login may not read them.
    """

    version: str
    kserve: str | None = None
    mode: str | None = None
    kinds: frozenset[str] = frozenset()
    namespace: bool = True
    objects: Mapping[str, Mapping[str, str]] = {}
    cluster_runtimes: tuple[str, ...] = ()
    nodes: tuple[Node, ...] | None = None
    ours: Mapping[str, Mapping[str, Mapping[str, int]]] = {}
    quotas: tuple[Quota, ...] = ()

    def names(self, kind: str) -> Iterable[str]:
        """The names of the namespace's objects of a kind."""
        return self.objects.get(kind, {})
