"""What stands in front of engines or beside them on a host: proxies and exporters, which are noted and left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from berth.importing.engines import OURS
from berth.running import Container, Look

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


_SERVICE = "com.docker.compose.service"
_LOCATION = re.compile(r"location\s+(?:\^~\s+)?(/(?:[A-Za-z0-9._-]+/)+)\s*\{([^{}]*)\}")
_PASS = re.compile(r"proxy_pass\s+http://([^/;\s]+)/\s*;")
"""With a slash at its end, nginx hands on what follows the location's path, as a stack's `path_prefix` does."""
_UPSTREAM = re.compile(r"upstream\s+(\S+)\s*\{[^{}]*?server\s+([^;\s]+)[^{}]*\}")


def prefixes(look: Look) -> Mapping[str, str]:
    """The paths under which an nginx has engines, by `name:port` as it reaches them."""
    found: dict[str, str] = {}
    for text in look.proxies:
        plain = re.sub(r"#.*", "", text)
        upstreams = dict(_UPSTREAM.findall(plain))
        for path, body in _LOCATION.findall(plain):
            for server in _PASS.findall(body):
                found.setdefault(upstreams.get(server, server), path)
    return found


def prefix_of(found: Mapping[str, str], container: Container | None, inside: int, outside: int) -> str | None:
    """The path of one engine: by its container's or its service's name, or by its port on the host."""
    names = [f"{host}:{outside}" for host in ("127.0.0.1", "localhost", "host.docker.internal")]
    if container is not None:
        names += [f"{name}:{inside}" for name in (container.name, container.labels.get(_SERVICE, ""))]
    return next((found[name] for name in names if name in found), None)
