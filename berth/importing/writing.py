"""A stack file as text: what was found as YAML that the spec takes, what was not understood as comments beside it."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent, wrap
from typing import Any

import yaml

from berth.importing.stack import Imported
from berth.spec import SpecError, loads

_WIDTH = 110
_SCHEMA = "# yaml-language-server: $schema=../schema/stack.schema.json"
_NEEDED = ("source", "engine", "place", "adopt")
_BESIDE = ("aliases", "path_prefix", "environment", "secrets", "prove")
"""What is not held against the command line of an adopted engine."""
_TRIES = 200
"""A stack file of so many mistakes is given up."""


def text(imported: Imported, heading: str) -> str:
    """The stack file.

    What the spec does not take is left out and said in a comment: an engine may run with what a stack file refuses.

    Args:
        imported: what was found.
        heading: the first comment, plain text.

    Raises:
        SpecError: something is refused that cannot be left out.
    """
    content = copy.deepcopy(imported.content)
    remarks = {name: list(said) for name, said in imported.remarks.items()}
    for _ in range(_TRIES):
        written = _text(content, remarks, heading)
        try:
            loads(written)
        except SpecError as error:
            if not any(_leave_out(content, remarks, problem.where, problem.text) for problem in error.problems):
                raise
        else:
            return written
    raise SpecError(Path("the stack file"), ())


def _leave_out(content: dict[str, Any], remarks: dict[str, list[str]], where: str, why: str) -> bool:
    """Removes the part of a model that a problem is about, or the whole model; False where there is none."""
    parts = re.findall(r"[^.\[\]]+", where)
    if parts[:1] != ["models"] or len(parts) < 3:
        return False
    if parts[2] in _NEEDED:
        remarks.setdefault("", []).append(f"{parts[1]} is left out: its {'.'.join(parts[2:])} {why}")
        return content["models"].pop(parts[1], None) is not None
    place: Any = content["models"].get(parts[1])
    for part in parts[2:-1]:
        if not isinstance(place, dict) or part not in place:
            break
        if not isinstance(place[part], dict):
            parts = [*parts[: parts.index(part)], part]
            break
        place = place[part]
    if not isinstance(place, dict) or parts[-1] not in place:
        return False
    del place[parts[-1]]
    then = "" if parts[2] in _BESIDE else _only(content["models"][parts[1]]["adopt"])
    remarks.setdefault(parts[1], []).append(f"{'.'.join(parts[2:])} is left out: it {why}{then}")
    return True


def _only(adopt: Mapping[str, Any]) -> str:
    """What is left of an engine that runs with what a stack file refuses: a preview holds it against the stack file."""
    if "container" in adopt:
        return "; such an engine cannot be adopted as it runs, only taken over: say `take: true` in adopt"
    return "; such an engine cannot be adopted as it runs: stop it and remove adopt, and Berth starts its own"


def _text(content: Mapping[str, Any], remarks: Mapping[str, Sequence[str]], heading: str) -> str:
    parts = [_SCHEMA, *_comments([heading, *remarks.get("", ())])]
    if orphans := [name for name in remarks if name and name not in content["models"]]:
        parts += _comments([f"{name}: {remark}" for name in orphans for remark in remarks[name]])
    for key, value in content.items():
        if key != "models":
            parts.append(_entry(key, value))
            continue
        parts.append("models:" if value else "models: {}")
        for name, model in value.items():
            parts += [f"  {line}" for line in _comments(remarks.get(name, ()))]
            parts.append(indent(_entry(name, model), "  "))
    return "\n".join(parts) + "\n"


def _comments(texts: Sequence[str]) -> list[str]:
    return [
        f"{'# ' if first == 0 else '#   '}{line}"
        for said in texts
        for first, line in enumerate(wrap(_printable(said), _WIDTH, break_long_words=False))
    ]


def _printable(said: str) -> str:
    return "".join(letter for letter in " ".join(said.split()) if letter.isprintable())


def _entry(key: str, value: Any) -> str:
    inner = _yaml(value)
    return f"{key}: {inner}" if inner.startswith("{") else f"{key}:\n{indent(inner, '  ')}"


def _yaml(value: Any) -> str:
    """Inner mappings on one line where they fit, as people write them."""
    dumped = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH * 4)
    return dumped.rstrip("\n")


class _Dumper(yaml.SafeDumper):
    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        node.flow_style = _short(mapping)
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = True
        return node


def _short(value: Any) -> bool:
    """Whether a mapping stands on one line; a model or a host does not."""
    inner = [item for item in value.values() if isinstance(item, dict)]
    return (
        len(str(value).replace("'", "")) < _WIDTH - 4
        and not any(isinstance(item, dict) for one in inner for item in one.values())
        and not {"engine", "connection"} & value.keys()
    )
