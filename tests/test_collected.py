"""A test that nobody collects proves nothing and looks as if it did."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent


def defines_tests(path: Path) -> list[str]:
    """The test functions and classes at the top of a file, as pytest would take them were the file collected."""
    return [
        node.name
        for node in ast.parse(path.read_text()).body
        if (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"))
        or (isinstance(node, ast.ClassDef) and node.name.startswith("Test"))
    ]


def test_every_file_with_tests_is_collected() -> None:
    lost = [
        f"{path.relative_to(TESTS.parent)} defines {defines_tests(path)[0]}; name the file test_*.py"
        for path in sorted(TESTS.rglob("*.py"))
        if not (path.name.startswith("test_") or path.name.endswith("_test.py")) and defines_tests(path)
    ]
    assert not lost, "\n".join(lost)


def test_every_file_named_as_tests_has_some() -> None:
    empty = [
        f"{path.relative_to(TESTS.parent)} is named as tests and defines none"
        for path in sorted(TESTS.rglob("test_*.py"))
        if not defines_tests(path)
    ]
    assert not empty, "\n".join(empty)


def test_no_test_hides_another_of_its_name() -> None:
    hidden = []
    for path in sorted(TESTS.rglob("test_*.py")):
        names = defines_tests(path)
        hidden += [f"{path.relative_to(TESTS.parent)}: {name}" for name in set(names) if names.count(name) > 1]
    assert not hidden, "\n".join(hidden)


def test_the_search_knows_a_test_from_what_helps_it(tmp_path: Path) -> None:
    file = tmp_path / "check.py"
    file.write_text(
        "def test_a(): ...\nasync def test_b(): ...\nclass TestC: ...\ndef helps(): ...\nclass Holder: ...\n"
    )
    assert defines_tests(file) == ["test_a", "test_b", "TestC"]
