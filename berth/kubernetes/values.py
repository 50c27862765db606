"""The values that Kubernetes objects are made of: metadata, quantities, placeholders for secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from berth.catalogue.units import Bytes

Object = dict[str, Any]
"""One Kubernetes object, or a part of one, as plain JSON values."""

MODEL_LABEL = "dev.berth/model"
REVISION_LABEL = "dev.berth/revision"
STACK_LABEL = "dev.berth/stack"
MANAGED_LABEL = "app.kubernetes.io/managed-by"

_PLACEHOLDER = re.compile(r"\$\{(secret|key):([^{}]+)\}")
_UNITS = (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))


def metadata(
    name: str,
    namespace: str | None,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """The metadata of an object; None as the namespace is an object of the whole cluster."""
    found: Object = {"name": name}
    if namespace is not None:
        found["namespace"] = namespace
    found["labels"] = dict(labels)
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def memory(size: Bytes) -> str:
    """An amount of memory in the largest unit that holds it whole."""
    for unit, factor in _UNITS:
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(int(size))


def cpu(cores: float) -> str:
    """An amount of CPU: whole cores, or thousandths of one."""
    return str(int(cores)) if cores == int(cores) else f"{round(cores * 1000)}m"


_WAYS_TO_ASK = frozenset({"exec", "grpc", "httpGet", "tcpSocket"})
"""The handlers of a probe, of which the API server takes one."""


def over(below: Object, above: Mapping[str, Any]) -> Object:
    """The fields of both, those of `above` where both have one; lists are taken whole.

    A probe has one way to ask: where `above` says one, that of `below` goes.
    """
    asks = _WAYS_TO_ASK & above.keys()
    found = {key: value for key, value in below.items() if not asks or key not in _WAYS_TO_ASK}
    for key, value in above.items():
        known = found.get(key)
        found[key] = over(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else _thawed(value)
    return found


def _thawed(value: Any) -> Any:
    """What a stack file says, which is frozen, as the lists and mappings of an object."""
    if isinstance(value, Mapping):
        return {key: _thawed(inner) for key, inner in value.items()}
    return [_thawed(inner) for inner in value] if isinstance(value, list | tuple) else value


def placeholder(secret: str) -> str:
    """What stands in an object in place of a secret's value; `filled` puts it in."""
    return f"${{secret:{secret}}}"


def generated(client: str) -> str:
    """What stands in an object in place of a client's key that nobody has named a secret for."""
    return f"${{key:{client}}}"


def secret_names(one: Object) -> Iterator[str]:
    """The names of the secrets whose values an object waits for."""
    yield from _waited_for(one, "secret")


def generated_names(one: Object) -> Iterator[str]:
    """The clients whose generated keys an object waits for."""
    yield from _waited_for(one, "key")


def _waited_for(one: Object, what: str) -> Iterator[str]:
    for text in one.get("stringData", {}).values():
        yield from (name for kind, name in _PLACEHOLDER.findall(text) if kind == what)


def filled(one: Object, values: Mapping[str, str], keys: Mapping[str, str] | None = None) -> Object:
    """The object with the values of its secrets, and of generated keys, in place of their placeholders.

    Raises:
        KeyError: a secret has no value; its name is the argument.
    """
    if "stringData" not in one:
        return one
    known = {"secret": values, "key": keys or {}}
    return {**one, "stringData": {key: _filled(key, text, known) for key, text in one["stringData"].items()}}


def _filled(key: str, text: str, known: Mapping[str, Mapping[str, str]]) -> str:
    """One file or value; inside JSON a value is written as JSON writes it."""

    def value(at: re.Match[str]) -> str:
        found = known[at[1]][at[2]]
        return json.dumps(found)[1:-1] if key.endswith(".json") else found

    return _PLACEHOLDER.sub(value, text)
