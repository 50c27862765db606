"""Fills in what a stack file says once for many: defaults, groups of hosts, engine settings, revisions.

Works on plain data, before types are checked, so that a mistake in a group is found wherever the group is used and
reported where it was written (`origins`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from berth.spec.document import Document, Where, spell
from berth.spec.engines import Engine
from berth.spec.hosts import Host
from berth.spec.messages import explain, unknown_key
from berth.spec.models import MODEL_KEYS, Model, Revision
from berth.spec.problems import Problem
from berth.spec.sources import KINDS

ONCE = ("defaults", "groups", "engines")
"""Top-level keys that only fill in others."""

_WHOLE = ({*KINDS}, {"local", "ssh"})
"""Keys of which a mapping has one: a mapping with another of them replaces instead of being merged."""


def expand(document: Document) -> tuple[dict[str, Any], list[Problem]]:
    """The file's data with everything filled in, and what is wrong with the parts that only fill in."""
    data = dict(document.data)
    defaults, groups, engines = (_mapping(data.pop(key, {})) for key in ONCE)
    problems = list(_problems(document, defaults, groups, engines))
    hosts = data.get("hosts")
    if isinstance(hosts, dict):
        data["hosts"] = {name: _host(host, defaults.get("host"), groups) for name, host in hosts.items()}
    models = data.get("models")
    if isinstance(models, dict):
        data["models"] = {name: _model(model, defaults.get("model"), engines) for name, model in models.items()}
    return data, problems


def merge(base: Any, over: Any) -> Any:
    """`over` laid on `base`: mappings key by key, everything else as a whole."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return base if over is None else over
    for kinds in _WHOLE:
        if kinds & over.keys() and kinds & over.keys() != kinds & base.keys():
            return over
    return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _host(host: Any, default: Any, groups: Mapping[str, Any]) -> Any:
    if not isinstance(host, dict):
        return host
    name = host.get("group", _mapping(default).get("group"))
    return merge(merge(_mapping(default), groups.get(name) if isinstance(name, str) else None), host)


def _model(model: Any, default: Any, engines: Mapping[str, Any]) -> Any:
    if not isinstance(model, dict):
        return model
    full = _merge_revision(_mapping(default), model)
    own = {key: full[key] for key in MODEL_KEYS if key in full}
    base = {key: value for key, value in full.items() if key not in own and key != "revisions"}
    revisions = model.get("revisions", {"main": {}})
    if isinstance(revisions, dict):
        revisions = {
            name: _revision(_merge_revision(base, {} if said is None else said), engines)
            for name, said in revisions.items()
        }
    return {**own, "revisions": revisions}


def _merge_revision(base: Any, over: Any) -> Any:
    """As `merge`, but another engine by name takes nothing of the one below."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return merge(base, over)
    base, over = ({**side, "engine": _engine(side["engine"])} if "engine" in side else side for side in (base, over))
    engine = _mapping(over.get("engine"))
    if "name" in engine and engine["name"] != _mapping(base.get("engine")).get("name"):
        base = {key: value for key, value in base.items() if key != "engine"}
    return merge(base, over)


def _engine(said: Any) -> Any:
    return {"name": said} if isinstance(said, str) else said


def _revision(revision: Any, engines: Mapping[str, Any]) -> Any:
    if not isinstance(revision, dict) or not isinstance(revision.get("engine"), dict):
        return revision
    engine = revision["engine"]
    name = engine.get("name")
    return {**revision, "engine": merge(_mapping(engines.get(name) if isinstance(name, str) else None), engine)}


def _problems(
    document: Document, defaults: Mapping[str, Any], groups: Mapping[str, Any], engines: Mapping[str, Any]
) -> Iterator[Problem]:
    """Mistakes in defaults, groups and engines, which may be incomplete but not wrong."""
    for key in ONCE:
        if not isinstance(document.data.get(key, {}), dict):
            yield _said(document, (key,), "is not a mapping, must be one")
    for name in defaults:
        if name not in {"host", "model"}:
            yield unknown_key(document, ("defaults", name), ("host", "model"))
    yield from _partial(document, Host, ("defaults", "host"), defaults.get("host"))
    yield from _partial_model(document, ("defaults", "model"), defaults.get("model"))
    if "revisions" in _mapping(defaults.get("model")):
        where: Where = ("defaults", "model", "revisions")
        yield _said(document, where, "is a default, must be said in each model; move it there")
    for name, group in groups.items():
        if "group" in _mapping(group):
            yield _said(document, ("groups", name, "group"), "is in a group, must be in a host; groups have no groups")
        yield from _partial(document, Host, ("groups", name), group)
    for name, engine in engines.items():
        if name not in {"vllm", "sglang", "tgi"}:
            yield unknown_key(document, ("engines", name), ("vllm", "sglang", "tgi"))
        yield from _partial(document, Engine, ("engines", name), engine)


def _said(document: Document, where: Where, text: str) -> Problem:
    return Problem(document.line(where), spell(where), text)


def _partial(document: Document, kind: type[BaseModel], where: Where, value: Any) -> Iterator[Problem]:
    if value is None:
        return
    try:
        kind.model_validate(value)
    except ValidationError as error:
        yield from explain(error, document, where, partial=True)


def _partial_model(document: Document, where: Where, value: Any) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield from _partial(document, Revision, where, value)
        return
    expanded = _model(value, {}, {})
    yield from _partial(document, Model, where, expanded)
