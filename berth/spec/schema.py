"""The JSON Schema of stack files, from which editors complete and explain keys.

`python -m berth.spec.schema` writes it to `schema/stack.schema.json`.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from berth.spec.models import Model, Revision
from berth.spec.stack import Stack
from berth.spec.values import Section

COMMITTED = Path(__file__).parents[2] / "schema" / "stack.schema.json"
"""Where the schema lies in the repository."""


def stack_schema() -> dict[str, Any]:
    """The schema of a stack file as it is written: before defaults, groups and engines are filled in."""
    schema = Stack.model_json_schema()
    definitions = schema["$defs"]
    _describe(schema, Stack)
    for section in _subclasses(Section):
        if section.__name__ in definitions:
            _describe(definitions[section.__name__], section)
    _open_model(definitions)
    # What a default, a group or the model may say elsewhere cannot be required here; loading the file still checks it.
    for name in ("Host", "Model", "Revision", "Engine", "Source", "Place"):
        definitions[name].pop("required", None)
    schema["properties"] |= {
        "defaults": {
            "type": "object",
            "additionalProperties": False,
            "description": "Settings for every host and every model that says nothing else.",
            "properties": {"host": {"$ref": "#/$defs/Host"}, "model": {"$ref": "#/$defs/Model"}},
        },
        "groups": {
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/Host"},
            "description": "Settings for hosts that name the group.",
        },
        "engines": {
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/Engine"},
            "description": "Settings for every model with that engine, such as its version.",
        },
    }
    definitions["Revision"]["properties"]["engine"] = _by_name("Engine", ["vllm", "sglang", "tgi"])
    definitions["Model"]["properties"]["engine"] = definitions["Revision"]["properties"]["engine"]
    for part in ("gpu", "prometheus", "grafana"):
        definitions["Monitoring"]["properties"][part]["anyOf"].append({"type": "boolean"})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Berth stack file"}


def text() -> str:
    """The schema as it is committed."""
    return json.dumps(stack_schema(), indent=2, ensure_ascii=False) + "\n"


def _describe(definition: dict[str, Any], section: type[Section]) -> None:
    """Adds to each property the string below its field. Pydantic could, but whoever loads a stack would wait for it."""
    told: dict[str, str] = {}
    for parent in reversed(section.__mro__):
        told |= _strings(parent) if issubclass(parent, Section) else {}
    for name, about in definition.get("properties", {}).items():
        if name in told:
            definition["properties"][name] = dict(sorted({**about, "description": told[name]}.items()))


def _strings(section: type[Section]) -> Mapping[str, str]:
    """The string below each field in the source of a section."""
    source = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    told = {}
    for field, below in itertools.pairwise(source.body if isinstance(source, ast.ClassDef) else ()):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                told[name] = inspect.cleandoc(text)
    return told


def _subclasses(section: type[Section]) -> Iterator[type[Section]]:
    for child in section.__subclasses__():
        yield child
        yield from _subclasses(child)


def _open_model(definitions: dict[str, Any]) -> None:
    """A model may say everything that a revision may; its revisions may be empty."""
    model, revision = definitions["Model"], definitions["Revision"]
    model["properties"] = {**revision["properties"], **model["properties"]}
    model["properties"]["revisions"]["additionalProperties"] = {
        "anyOf": [{"$ref": "#/$defs/Revision"}, {"type": "null"}]
    }
    assert set(model["properties"]) == {*Model.model_fields, *Revision.model_fields}  # noqa: S101 - both are ours


def _by_name(definition: str, names: list[str]) -> dict[str, Any]:
    return {
        "description": _strings(Revision)["engine"],
        "anyOf": [{"enum": names}, {"$ref": f"#/$defs/{definition}"}],
    }


if __name__ == "__main__":
    COMMITTED.parent.mkdir(exist_ok=True)
    COMMITTED.write_text(text(), encoding="utf-8")
