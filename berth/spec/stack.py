"""The whole stack file."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from berth.spec.gateway import Gateway, Monitoring
from berth.spec.hosts import Cluster, Host, Instance, Quota
from berth.spec.models import Model
from berth.spec.values import Name, Section


class Stack(Section):
    """One environment, with defaults, groups and engine settings already filled in."""

    profile: Name = "balanced"
    """Which of the models' shares applies."""
    hosts: Mapping[Name, Host] = Field(default_factory=dict)
    """The machines."""
    clusters: Mapping[Name, Cluster] = Field(default_factory=dict)
    """The Kubernetes clusters."""
    instances: Mapping[Name, Instance] = Field(default_factory=dict)
    """Instance types: CPU and memory of a replica."""
    quotas: Mapping[Name, Quota] = Field(default_factory=dict)
    """How many GPUs groups of models may use."""
    models: Mapping[Name, Model] = Field(min_length=1)
    """What is served; a key is the name clients ask for."""
    gateway: Gateway | None = None
    """The OpenAI-compatible door; left out, there is none."""
    monitoring: Monitoring = Monitoring()
    """What watches the stack."""

    def group(self, name: str) -> tuple[str, ...]:
        """The hosts of a group, in the order of the file."""
        return tuple(host for host, settings in self.hosts.items() if settings.group == name)
