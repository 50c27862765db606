"""The ways to what is to be proved: a loopback port of a host, or pods of a cluster through its API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import BaseModel, ConfigDict

from berth.provider.asking import Way
from berth.provider.host import Host


class Pods(BaseModel):
    """The pods of a namespace that have all `labels` and are ready.

    `specification` is what they are marked with (empty: whatever their mark).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str
    labels: dict[str, str]
    specification: str = ""

    def __str__(self) -> str:
        """As part of an id."""
        return f"/{self.namespace}/{','.join(f'{key}={value}' for key, value in sorted(self.labels.items()))}"


@asynccontextmanager
async def ways(host: Host, port: int, pods: Pods | None) -> AsyncIterator[Sequence[Way]]:
    """The way to a port of a host; with `pods`, to that port of each of them.

    Raises:
        ProviderError: no such pod is ready.
        Unreachable: the API server did not answer.
    """
    if pods is not None:
        from berth.provider.kubernetes.pods import ways_to  # noqa: PLC0415 -- only stacks with clusters pay for it

        yield await ways_to(host, port, pods)
        return
    async with host.forward(port) as address:
        yield [Way(url=f"http://{address}/v1")]
