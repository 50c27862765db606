"""How a cluster is reached, as the provider's configuration says it."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, SecretStr

CLUSTERS: Final = "berth:kubernetes:facts"
"""The Pulumi token of the function that looks at clusters."""


class KubernetesSettings(BaseModel):
    """Where the API is; without a kubeconfig, where kubectl would ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kubeconfig: SecretStr | None = None
    context: str | None = None


class ToCluster(BaseModel):
    """The way to a cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: KubernetesSettings
