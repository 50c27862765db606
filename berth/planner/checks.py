"""What the parts of a stack must say about each other: names, profiles, quotas, instance types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from berth.catalogue.secrets import secret
from berth.planner.adoption import check_adoption
from berth.planner.notes import refusal, remark, warning
from berth.planner.on_cluster import check_clusters
from berth.planner.placement import Seat, firsts, where_of
from berth.planner.plan import Note, revision_name
from berth.spec.problems import nearest, one_of
from berth.spec.stack import Stack


def check(stack: Stack, profile: str, seats: Sequence[Seat]) -> Iterator[Note]:
    """Everything that does not agree."""
    yield from _served_names(stack)
    yield from _profiles(stack, profile)
    yield from _references(stack)
    yield from _quotas(stack, seats)
    yield from _runtimes(seats)
    yield from _connections(stack, seats)
    yield from _machines(stack)
    yield from check_clusters(stack, seats)
    yield from _clients(stack)
    yield from _traffic(stack)
    yield from _secrets(stack)
    yield from check_adoption(stack, seats)


def _served_names(stack: Stack) -> Iterator[Note]:
    """Names that two models claim, adapters included."""
    owners = {name: f"models.{name}" for name in stack.models}
    for model, spec in stack.models.items():
        for revision in spec.revisions:
            owners.setdefault(revision_name(model, revision), f"models.{model}.revisions.{revision}")
    for model, spec in stack.models.items():
        claims = [(f"models.{model}.aliases[{number}]", alias) for number, alias in enumerate(spec.aliases)]
        for revision, settings in spec.revisions.items():
            adapters = settings.lora.adapters if settings.lora is not None else ()
            where = where_of(model, spec, revision)
            claims += [(f"{where}.lora.adapters[{n}].name", adapter.name) for n, adapter in enumerate(adapters)]
        for where, name in claims:
            owner = owners.setdefault(name, where)
            shared = ".lora." in where and owner.startswith(f"models.{model}.")  # revisions may serve one adapter
            if owner != where and not shared:
                yield refusal(where, f"is {name}, which {owner} has already; must be served by one model; rename one")


def _profiles(stack: Stack, profile: str) -> Iterator[Note]:
    named: dict[str, None] = {}
    for model, spec in stack.models.items():
        for revision, settings in spec.revisions.items():
            if not isinstance(settings.share, Mapping):
                continue
            named |= dict.fromkeys(settings.share)
            if profile not in settings.share:
                near = nearest(profile, settings.share)
                hint = f"did you mean {near}?" if near else "add it or choose another profile"
                where = f"{where_of(model, spec, revision)}.share"
                yield refusal(where, f"has no profile {profile}, must have it beside {one_of(settings.share)}; {hint}")


def _references(stack: Stack) -> Iterator[Note]:
    for model, spec in stack.models.items():
        for revision, settings in spec.revisions.items():
            where = where_of(model, spec, revision)
            for key, name, known in (
                ("instance", settings.instance, stack.instances),
                ("quota", settings.quota, stack.quotas),
            ):
                if name is not None and name not in known:
                    near = nearest(name, known)
                    hint = f"did you mean {near}?" if near else f"known: {', '.join(known) or 'none'}"
                    yield refusal(f"{where}.{key}", f"is {name}, must be one of the stack's {key}s; {hint}")


def _quotas(stack: Stack, seats: Sequence[Seat]) -> Iterator[Note]:
    """Each revision takes what it needs of what those before it in the file have left."""
    for name, quota in stack.quotas.items():
        users: dict[str, int] = {}
        places: dict[str, str] = {}
        for seat in seats:
            if seat.spec.quota == name:
                user = revision_name(seat.model, seat.revision)
                users[user] = users.get(user, 0) + seat.size
                places[user] = seat.where
        left = quota.gpus
        held: list[str] = []
        for user, needs in users.items():
            if needs > left:
                holders = f" ({', '.join(held)} of it)" if held else ""
                text = f"is {name}, of whose {quota.gpus} GPUs {left} are left{holders}, and {user} needs {needs}"
                yield refusal(f"{places[user]}.quota", f"{text}; raise quotas.{name}.gpus or use fewer cards")
            else:
                held.append(f"{user} holds {needs}")
                left -= needs


def _runtimes(seats: Sequence[Seat]) -> Iterator[Note]:
    """Engines and weights that the runtime of their place cannot use."""
    for seat in seats:
        engine, source = seat.spec.engine, seat.spec.source
        if engine.image is not None and not seat.in_container:
            text = f"is an image, and {seat.host} runs processes; must be left out, or the host's runtime be docker"
            yield refusal(f"{seat.where}.engine.image", text)
        if engine.environment is not None and seat.in_container:
            text = f"is an environment, and {seat.host} runs containers; must be left out, or an image be named"
            yield refusal(f"{seat.where}.engine.environment", text)
        if seat.on_cluster and source.kind in {"path", "random"}:
            text = f"is on a host, and {seat.host} is a cluster; must be hub, s3, oci or pvc"
            yield refusal(f"{seat.where}.source.{source.kind}", text)
        if not seat.on_cluster and source.kind == "pvc":
            text = f"is on a cluster, and {seat.host} is a host; must be hub, s3 or path"
            yield refusal(f"{seat.where}.source.pvc", text)


def _connections(stack: Stack, seats: Sequence[Seat]) -> Iterator[Note]:
    """Buckets that a host has no key for."""
    first = firsts(seats)
    for seat in seats:
        source, where = seat.spec.source, f"{seat.where}.source.connection"
        if seat.on_cluster or source.s3 is None or seat.name not in first:
            continue
        known = stack.hosts[seat.host].connections
        if source.connection is None:
            if known:
                text = f"is not said, so that the bucket must be public; {seat.host} has {', '.join(known)}"
                yield remark(where, text)
        elif source.connection not in known:
            near = nearest(source.connection, known)
            hint = f"did you mean {near}?" if near else f"known: {', '.join(known) or 'none'}"
            yield refusal(where, f"is {source.connection}, must be one of hosts.{seat.host}.connections; {hint}")


def _machines(stack: Stack) -> Iterator[Note]:
    """One machine under two names: its cards and ports would be counted twice."""
    first: dict[tuple[object, ...], str] = {}
    for name, host in stack.hosts.items():
        way = host.connection
        machine = ("local",) if way == "local" else (way.ssh.host, way.ssh.port, way.ssh.proxy_jump)
        other = first.setdefault(machine, name)
        if other != name:
            text = f"reaches the same machine as hosts.{other}, must be another; use one of the two names for both"
            yield refusal(f"hosts.{name}.connection", text)


def _clients(stack: Stack) -> Iterator[Note]:
    """Models that a key names and nobody serves."""
    if stack.gateway is None:
        return
    served = {*stack.models, *(alias for spec in stack.models.values() for alias in spec.aliases)}
    for number, key in enumerate(stack.gateway.keys):
        for model in key.models:
            if model not in served:
                near = nearest(model, served)
                hint = f"did you mean {near}?" if near else f"served: {', '.join(sorted(served))}"
                text = f"names {model}, must name served models; {hint}"
                yield refusal(f"gateway.keys[{number}].models", text)
    bind = stack.gateway.bind
    if bind in {"127.0.0.1", "::1", "localhost"}:
        return
    if stack.gateway.open:
        yield warning("gateway.open", f"is true and bind is {bind}: everyone who reaches the host may use the models")


def _traffic(stack: Stack) -> Iterator[Note]:
    for model, spec in stack.models.items():
        idle = [name for name, percent in spec.shares.items() if percent == 0]
        if idle and len(spec.revisions) > 1:
            text = f"gives {one_of(idle)} nothing: it runs and holds its cards, and no request reaches it"
            yield warning(f"models.{model}.traffic", text)


def _secrets(stack: Stack) -> Iterator[Note]:
    """Values that look like secrets where everybody reads them; better one that is none than one that is open."""
    for model, spec in stack.models.items():
        for revision, settings in spec.revisions.items():
            where = where_of(model, spec, revision)
            for name, value in settings.environment.items():
                if secret(name, value):
                    said = f"secrets: {{{name}: {name.lower()}}}"
                    text = "looks like a secret, and lies open in this file, in the state and on the host"
                    yield warning(f"{where}.environment.{name}", f"{text}; if it is one, write {said}")
