"""A cluster in the place of a host: it runs no commands, and is asked through its API."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from berth.provider.command import Command, Result
from berth.provider.connection import OnLine
from berth.provider.errors import BadInput, ProviderError
from berth.provider.host import Host
from berth.provider.kubernetes.api import Api
from berth.provider.kubernetes.settings import KubernetesSettings


class ClusterConnection:
    """Holds the API of one cluster; `api` is what operations on clusters use."""

    def __init__(self, name: str, settings: KubernetesSettings) -> None:
        kubeconfig = settings.kubeconfig.get_secret_value() if settings.kubeconfig is not None else None
        self._name = name
        self.api = Api(name, kubeconfig, settings.context)

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        """Clusters run no commands.

        Raises:
            ProviderError: always.
        """
        del on_line
        raise ProviderError(f"cluster {self._name}: {command.says}: a cluster runs no commands")

    def forward(self, port: int) -> AbstractAsyncContextManager[str]:
        """Clusters have no loopback ports.

        Raises:
            ProviderError: always.
        """
        raise ProviderError(f"cluster {self._name}: port {port}: a cluster has no ports of its own")

    async def close(self) -> None:
        """See `Connection.close`."""
        await self.api.close()


def api_of(host: Host) -> Api:
    """The API of a cluster in the place of a host.

    Raises:
        BadInput: it is a host.
    """
    if not isinstance(host.connection, ClusterConnection):
        raise BadInput(f"{host.name} is a host, must be a cluster of the stack")
    return host.connection.api
