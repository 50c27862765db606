"""The whole stack file."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from berth.spec.gateway import Gateway, Monitoring
from berth.spec.hosts import Cluster, Host, Instance, Quota
from berth.spec.models import Model
from berth.spec.prerequisites import Prerequisites
from berth.spec.values import Name, Section, lacking


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
    models: Mapping[Name, Model] = Field(default_factory=dict)
    """What is served; a key is the name clients ask for. There may be none where hosts are only prepared."""
    gateway: Gateway | None = None
    """The OpenAI-compatible door; left out, there is none."""
    monitoring: Monitoring = Monitoring()
    """What watches the stack."""

    @model_validator(mode="after")
    def _does_something(self) -> Stack:
        if not self.models and all(host.prerequisites == Prerequisites() for host in self.hosts.values()):
            raise lacking("is missing, must be given, or prerequisites of a host", "models")
        return self

    def group(self, name: str) -> tuple[str, ...]:
        """The hosts of a group, in the order of the file."""
        return tuple(host for host, settings in self.hosts.items() if settings.group == name)
