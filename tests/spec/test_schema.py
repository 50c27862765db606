"""The JSON Schema that editors read is the one that the sections give, and every stack file satisfies it."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from berth.spec import load
from berth.spec.schema import COMMITTED, stack_schema, text

STACKS = sorted((Path(__file__).parents[2] / "stacks").glob("*.yaml"))


def test_the_committed_schema_is_in_step():
    assert COMMITTED.read_text() == text(), "run: python -m berth.spec.schema"


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(stack_schema())


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.stem)
def test_stack_files_satisfy_the_schema(path: Path):
    assert path.read_text().startswith("# yaml-language-server: $schema=../schema/stack.schema.json\n")
    jsonschema.validate(yaml.safe_load(path.read_text()), stack_schema())
    load(path)


def test_an_editor_marks_an_unknown_key_and_a_wrong_type():
    text = STACKS[0].read_text()
    checker = jsonschema.Draft202012Validator(stack_schema())
    assert not checker.is_valid(yaml.safe_load(text.replace("context:", "contxt:")))
    assert not checker.is_valid(yaml.safe_load(text.replace("context: ", "context: many #")))


def test_every_key_is_explained():
    definitions = stack_schema()["$defs"]
    bare = [
        f"{name}.{key}"
        for name, definition in definitions.items()
        for key, settings in definition.get("properties", {}).items()
        if "description" not in settings
    ]
    assert bare == []
