"""A YAML file as plain data that remembers its lines; refuses what YAML allows and a reader would not notice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from berth.spec.problems import Problem, SpecError

Where = tuple[str | int, ...]
"""A path into the document: keys of mappings and indices of lists."""

_LARGEST = 2**20  # characters; a stack file of a hundred models has about 50 thousand
_DEEPEST = 40  # levels; the deepest key of the specification lies at nine
_MOST = 100  # problems worth reading
_WIDEST = 100_000  # values, aliases counted each time; a model has about 50


@dataclass(frozen=True)
class Document:
    """The file's data (mappings, tuples, scalars), the line of every path in it, its scalars as they are written."""

    path: Path
    data: Mapping[str, Any]
    lines: Mapping[Where, int]
    scalars: Mapping[Where, str]

    def has(self, where: Where) -> bool:
        """Whether the file itself says something at this path."""
        return where in self.lines

    def line(self, where: Where) -> int:
        """The line of the nearest written part of a path; 0 when there is none."""
        while where:
            if where in self.lines:
                return self.lines[where]
            where = where[:-1]
        return 0


def spell(where: Where) -> str:
    """A path as messages name it: `hosts.box.gpus[0].model`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.removeprefix(".") or "the file"


def read(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        SpecError: the file cannot be read, is not one YAML mapping, or says a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise SpecError(path, [Problem(0, "the file", f"cannot be read ({reason}), must be a stack file")]) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """As `read`, from text; `path` is used in messages only."""
    if len(text) > _LARGEST:
        raise SpecError(path, [Problem(0, "the file", f"has {len(text)} characters, must have at most {_LARGEST}")])
    try:
        loader = _PlainLoader(text)
        root = loader.get_single_node()
        problems = [] if root is None else list(islice(_suspicious(root), _MOST))
        if root is None or problems:
            empty = Problem(1, "the file", "is empty, must be a mapping with hosts, models and gateway")
            raise SpecError(path, problems or [empty])
        data = _tuples(loader.construct_document(root))
    except yaml.YAMLError as error:
        raise SpecError(path, [_syntax(error)]) from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # what tags such as !!int let through
        raise SpecError(path, [Problem(0, "the file", f"cannot be read ({error}), must be plain YAML")]) from None
    if not isinstance(data, dict):
        raise SpecError(path, [Problem(1, "the file", "is not a mapping, must have hosts, models and gateway")])
    nodes = dict(_nodes(root, ()))
    return Document(
        path,
        data,
        lines={where: line for where, (line, _) in nodes.items()},
        scalars={where: node.value for where, (_, node) in nodes.items() if isinstance(node, yaml.ScalarNode)},
    )


class _PlainLoader(yaml.SafeLoader):
    """YAML without types that no stack file needs: a date is text, so that a tag like 2025-09-01 survives."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _syntax(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    line = mark.line + 1 if mark is not None else 0
    return Problem(line, "the file", f"is not valid YAML ({what}), must be; look there and at the line above")


def _suspicious(root: yaml.Node) -> Iterator[Problem]:
    """Keys said twice, keys that are not text, values that contain themselves or multiply by aliases."""
    seen = 0
    waiting: list[tuple[yaml.Node, Where, tuple[int, ...]]] = [(root, (), ())]
    while waiting:
        node, where, above = waiting.pop()
        line, seen = node.start_mark.line + 1, seen + 1
        if seen > _WIDEST:
            yield Problem(line, spell(where[:1]), f"has too many values, must be at most {_WIDEST}; use fewer aliases")
            return
        if id(node) in above or len(above) > _DEEPEST:
            what = "contains itself" if id(node) in above else f"is more than {_DEEPEST} levels deep"
            yield Problem(line, spell(where), f"{what}, must be a plain value")
            continue
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _keys(node, where)
            waiting += [(value, (*where, str(key.value)), above) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, (*where, index), above) for index, item in enumerate(node.value)]


def _keys(node: yaml.MappingNode, where: Where) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:null":
            what = "empty" if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            yield Problem(line, spell(where), f"has a key that is {what}, must be text")
        elif key.value in first:
            text = f"is said twice (first in line {first[key.value]}), must be said once; rename or remove one"
            yield Problem(line, spell((*where, key.value)), text)
        else:
            first[key.value] = line


def _nodes(node: yaml.Node, where: Where) -> Iterator[tuple[Where, tuple[int, yaml.Node]]]:
    """Every path with its line and what stands there."""
    inner: Iterable[tuple[str | int, yaml.Node, yaml.Node]] = ()
    if isinstance(node, yaml.MappingNode):
        inner = ((str(key.value), key, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        inner = ((index, item, item) for index, item in enumerate(node.value))
    for part, marked, value in inner:
        yield (*where, part), (marked.start_mark.line + 1, value)
        yield from _nodes(value, (*where, part))


def _tuples(value: Any) -> Any:
    """Lists as tuples: what is read is never changed, and strict types then mean what they say."""
    if isinstance(value, dict):
        return {str(key): _tuples(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    return value
