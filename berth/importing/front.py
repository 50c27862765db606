"""What stands in front of engines or beside them on a host: proxies and exporters, which are noted and left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from berth.importing.engines import OURS
from berth.running import Look

_KINDS = ("nginx", "envoy", "traefik", "caddy", "haproxy", "litellm", "dcgm-exporter")


@dataclass(frozen=True, kw_only=True)
class Front:
    """One of them; `ports` are where its host listens for it, as far as that is known."""

    kind: str
    called: str
    ports: tuple[int, ...]


def fronts(look: Look) -> Iterator[Front]:
    """Those that no stack of Berth has made."""
    for container in look.containers:
        name = PurePosixPath(container.repository).name
        program = PurePosixPath(container.words[0]).name
        kind = next((kind for kind in _KINDS if kind in name or kind == program), None)
        if kind is not None and OURS not in container.labels:
            yield Front(
                kind=kind,
                called=f"container {container.name}",
                ports=tuple(dict.fromkeys(port.port for port in container.ports)),
            )
    for process in look.outside:
        # nginx names its processes itself: `nginx: master process /usr/sbin/nginx`
        first = process.words[0].split(":")[0] if process.words[0].startswith("nginx: master") else process.words[0]
        kind = PurePosixPath(first).name
        if kind in {"nginx", "envoy"} and not process.ours:
            yield Front(kind=kind, called=f"process {process.pid}", ports=())
