"""Objects of a cluster that somebody else has made, taken over as they are: nothing of them is deleted or made anew.

Server-side apply leaves fields that others have set. So their fields become Berth's first, which changes nothing that a
controller sees; what is then applied changes and removes, at once, all that is not declared. `kubectl` does the same
with what it has applied in its older way (k8s.io/client-go/util/csaupgrade).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from berth.provider.command import Command
from berth.provider.diff import changes
from berth.provider.errors import Unreachable
from berth.provider.host import Host
from berth.provider.kubernetes.api import Api, Refused
from berth.provider.kubernetes.connection import api_of
from berth.provider.operation import Operation, Want

STACK_LABEL = "dev.berth/stack"
_HIDDEN = frozenset({"Secret"})
_SHARED = frozenset({"ServiceAccount"})
"""Controllers set more of them than metadata and status: OpenShift lists its pull secrets there, again and again."""
_ABOUT = frozenset({"apiVersion", "kind", "metadata", "status"})
_SHOWN = 30
"""So many changes of one object are shown."""
_LONGEST = 100


class Known(BaseModel):
    """An object of a namespace by its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_version: str
    kind: str
    name: str

    def path(self, namespace: str) -> str:
        """Where all of its kind are."""
        start = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        plural = f"{self.kind.lower()}{'es' if self.kind.endswith('s') else 's'}"
        return f"{start}/namespaces/{namespace}/{plural}"


class TakeoverWant(Want):
    """The fields of these objects are the field manager's, where they are there and not of `stack` yet.

    `declared` is what will be made of them, by kind and name, for a preview to compare; secrets are not in it.
    """

    namespace: str
    stack: str
    manager: str
    objects: tuple[Known, ...]
    declared: dict[str, Any] = {}
    state: Literal["taken", "another's"] = "taken"


class Takeover(Operation[TakeoverWant]):
    """Makes what others have set ours, so that what is applied next is all there is."""

    kind = "berth:kubernetes:Takeover"
    wants = TakeoverWant
    replace = frozenset({"host", "namespace"})
    guides = frozenset({"declared"})

    def identity(self, want: TakeoverWant) -> str:
        """The namespace."""
        return f"{want.host}:{want.namespace}"

    async def observe(self, host: Host, want: TakeoverWant) -> TakeoverWant | None:
        """Whether any of them is another's."""
        others = [one async for one in _others(api_of(host), want)]
        return want.model_copy(update={"state": "another's" if others else "taken"})

    def steps(self, want: TakeoverWant | None, have: TakeoverWant | None) -> Sequence[Command]:
        """It is done through the API."""
        del want, have
        return []

    async def announced(self, host: Host, want: TakeoverWant) -> Sequence[str]:
        """What an update will change of each object that it takes over."""
        api, lines = api_of(host), list[str]()
        async for known, live in _others(api, want):
            where = f"{known.kind} {known.name} in namespace {want.namespace}"
            if known.kind in _SHARED:
                lines.append(f"{where} is taken over, with what others have added to it")
                continue
            found = [] if known.kind in _HIDDEN else await _differences(api, want, known, live)
            if known.kind in _HIDDEN:
                lines.append(f"{where} is taken over, with its values as declared")
            elif not found:
                lines.append(f"{where} is taken over as it is")
            else:
                rest = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
                lines.append("\n  ".join([f"{where} is taken over and changed:", *found[:_SHOWN], *rest]))
        return lines

    async def converge(self, host: Host, want: TakeoverWant | None, known: TakeoverWant) -> TakeoverWant | None:
        """Makes the field manager the owner of what others have set.

        Raises:
            Refused: the login may not change them.
            Unreachable: the API server did not answer.
        """
        del known
        if want is None:
            return None
        api = api_of(host)
        async for one, live in _others(api, want):
            if one.kind in _SHARED:
                continue
            host.say(f"taking over {one.kind} {one.name}")
            about = live["metadata"]
            patch = [
                {"op": "replace", "path": "/metadata/managedFields", "value": taken(live, want.manager)},
                # Refused where somebody has changed it since.
                {"op": "replace", "path": "/metadata/resourceVersion", "value": about["resourceVersion"]},
            ]
            await api.send("PATCH", f"{one.path(want.namespace)}/{one.name}", patch, kind="application/json-patch+json")
        return want


async def _others(api: Api, want: TakeoverWant) -> Any:
    """The objects that are there and of somebody else, each as it is."""
    for one in want.objects:
        live = await api.get(f"{one.path(want.namespace)}/{one.name}")
        if live is not None and live["metadata"].get("labels", {}).get(STACK_LABEL) != want.stack:
            yield one, live


def taken(live: Mapping[str, Any], manager: str) -> list[dict[str, Any]]:
    """The managers of an object once all that is declared of it is `manager`'s; controllers keep what they write.

    A controller writes the status and metadata; who has set anything else is a person, or a tool of one.
    """
    kept, fields, newest = list[dict[str, Any]](), dict[str, Any](), ""
    for entry in live["metadata"].get("managedFields", ()):
        said = entry.get("fieldsV1", {})
        if entry.get("subresource") or not said.keys() - {"f:metadata", "f:status"}:
            kept.append(dict(entry))
            continue
        fields = _both(fields, said)
        newest = max(newest, entry.get("time", ""))
    ours = {"manager": manager, "operation": "Apply", "apiVersion": live["apiVersion"], "fieldsType": "FieldsV1"}
    return [*kept, {**ours, **({"time": newest} if newest else {}), "fieldsV1": fields}] if fields else kept


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _both(one.get(key, {}), other.get(key, {})) for key in {**one, **other}}


async def _differences(api: Api, want: TakeoverWant, known: Known, live: Mapping[str, Any]) -> list[str]:
    """What differs from the object as the cluster would make it from what is declared, its own defaults included."""
    declared = want.declared.get(f"{known.kind}/{known.name}")
    if declared is None:
        return []
    other = {**declared, "metadata": {**declared["metadata"], "name": f"{known.name}-look"}}
    try:
        made = await api.send("POST", known.path(want.namespace), other, dryRun="All")
    except (Refused, Unreachable):
        made = declared  # the login of a preview may only read; defaults of the cluster's then look like changes
    parts = [{key: value for key, value in one.items() if key not in _ABOUT} for one in (live, made)]
    return list(changed_lines(*parts))


def changed_lines(live: Any, made: Any) -> Iterator[str]:
    """What becomes of one object when it is made as another, a line for each path."""
    for change in changes(live, made):
        match change.kind:
            case "add":
                yield f"{change.path} will be {_at(made, change.path)}"
            case "delete":
                yield f"{change.path} is {_at(live, change.path)}, and goes"
            case "update":
                yield f"{change.path} is {_at(live, change.path)}, will be {_at(made, change.path)}"


def _at(value: Any, path: str) -> str:
    """The value at a path as `changes` writes it, in a few words."""
    for part in _parts(path):
        value = value[part]
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _parts(path: str) -> Iterator[str | int]:
    rest = path
    while rest:
        if rest.startswith("["):
            inner, end = json.JSONDecoder().raw_decode(rest[1:])
            yield inner
            rest = rest[end + 2 :].removeprefix(".")
        else:
            end = min((at for at in (rest.find("."), rest.find("[")) if at >= 0), default=len(rest))
            yield rest[:end]
            rest = rest[end:].removeprefix(".")
