"""The way from a stack file to a `Stack`."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from berth.spec.document import Document, parse, read
from berth.spec.expand import expand
from berth.spec.messages import explain
from berth.spec.problems import SpecError
from berth.spec.stack import Stack


def load(path: Path) -> Stack:
    """Read and check one stack file.

    Raises:
        SpecError: the file is not a valid stack; it holds every problem that was found.
    """
    return build(read(path))


def loads(text: str, path: Path = Path("stack.yaml")) -> Stack:
    """As `load`, from text; `path` is used in messages only."""
    return build(parse(text, path))


def build(document: Document) -> Stack:
    """As `load`, from a document that is read already."""
    data, problems = expand(document)
    stack: Stack | None = None
    try:
        stack = Stack.model_validate(data)
    except ValidationError as error:
        problems = [*problems, *explain(error, document)]
    if stack is None or problems:
        raise SpecError(document.path, problems)
    return stack
