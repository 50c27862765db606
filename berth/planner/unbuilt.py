"""What a stack file may say, the planner plans, and `pulumi up` cannot apply yet."""

from __future__ import annotations

from collections.abc import Iterator

from berth.planner.monitoring import host_of
from berth.spec.models import Revision
from berth.spec.stack import Stack

_YET = "is planned but cannot be applied yet"


def unbuilt(stack: Stack) -> Iterator[tuple[str, str]]:
    """Where and what, one for each thing that is not built."""
    yield from _of_models(stack)
    yield from _of_gateway(stack)
    yield from _of_monitoring(stack)


def _of_monitoring(stack: Stack) -> Iterator[tuple[str, str]]:
    host = host_of(stack)
    if host is not None and (host in stack.clusters or (host in stack.hosts and stack.hosts[host].runtime == "docker")):
        return
    for part in ("gpu", "prometheus", "grafana"):
        if getattr(stack.monitoring, part) is not None:
            yield f"monitoring.{part}", f"{part} {_YET} where the gateway's host runs processes; with docker it can"


def _of_models(stack: Stack) -> Iterator[tuple[str, str]]:
    for name, model in stack.models.items():
        for revision in model.revisions.values():
            on_hosts = _runtimes(stack, revision)
            adapters = revision.lora.adapters if revision.lora is not None and on_hosts else ()
            if strange := {held.source.kind for held in adapters} - {"hub", "path"}:
                yield f"models.{name}.lora", f"an adapter from {min(strange)} {_YET}; one from hub or a path can"
            runs_already = revision.adopt is not None and not revision.adopt.take
            if on_hosts and not runs_already:
                yield from _on_hosts(name, revision, on_hosts)


def _runtimes(stack: Stack, revision: Revision) -> set[str]:
    """What a revision's engines run as on the hosts that it is placed on."""
    names = [
        host
        for place in revision.place
        for host in ((place.host,) if place.host is not None else stack.group(place.group or ""))
    ]
    return {stack.hosts[host].runtime for host in names if host in stack.hosts}


def _on_hosts(name: str, revision: Revision, runtimes: set[str]) -> Iterator[tuple[str, str]]:
    if revision.source.kind == "oci":
        yield f"models.{name}.source", f"oci weights on a host: {_YET}; hub, s3 and path can"
    if revision.engine.name == "tgi" and "process" in runtimes:
        yield f"models.{name}.engine", "tgi has no package to be installed from, only an image: use docker, or vllm"
    if revision.engine.environment is not None and "docker" in runtimes:
        yield f"models.{name}.engine.environment", f"a folder of the host in a container {_YET}; an image can"


def _of_gateway(stack: Stack) -> Iterator[tuple[str, str]]:
    gateway = stack.gateway
    if gateway is None:
        return
    limits = (gateway.limits, *(key.limits for key in gateway.keys))
    if any(limit is not None and limit.tokens_per_minute is not None for limit in limits):
        yield "gateway.limits.tokens_per_minute", f"a limit of tokens {_YET}; requests_per_minute and concurrent can"
