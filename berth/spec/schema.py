"""The JSON Schema of stack files, from which editors complete and explain keys.

`python -m berth.spec.schema` writes it to `schema/stack.schema.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from berth.spec.models import Model, Revision
from berth.spec.stack import Stack

COMMITTED = Path(__file__).parents[2] / "schema" / "stack.schema.json"
"""Where the schema lies in the repository."""


def stack_schema() -> dict[str, Any]:
    """The schema of a stack file as it is written: before defaults, groups and engines are filled in."""
    schema = Stack.model_json_schema()
    definitions = schema["$defs"]
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
        "description": Revision.model_fields["engine"].description,
        "anyOf": [{"enum": names}, {"$ref": f"#/$defs/{definition}"}],
    }


if __name__ == "__main__":
    COMMITTED.parent.mkdir(exist_ok=True)
    COMMITTED.write_text(text(), encoding="utf-8")
