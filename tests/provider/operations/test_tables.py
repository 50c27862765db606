"""Every operation against its table: each command in some row, and hostile values in all of them."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from berth.provider import command, nvidia_module
from berth.provider.operation import FactOperation, Want
from berth.provider.packaging import apt, dnf, surviving
from berth.provider.registry import OPERATIONS
from tests.provider.operations.tables.case import Case, Table, row, unwrapped

FOLDER = Path(__file__).with_name("tables")
TABLES: dict[str, Table] = {
    path.stem: importlib.import_module(f"tests.provider.operations.tables.{path.stem}").TABLE
    for path in sorted(FOLDER.glob("*.py"))
    if path.stem != "case"
}
CASES = [(name, case) for name, table in TABLES.items() for case in table.cases]
HOSTILE = "x'; touch /tmp/owned; $(touch /tmp/owned) `id` \"\\"
BUILDERS = {"Command", "shell", "put"}


def module(table: Table) -> ModuleType:
    return sys.modules[type(table.operation).__module__]


def scripts(of: ModuleType) -> dict[str, str]:
    """The scripts of a module, and those that it shares, by their text; package managers' as `apt._INSTALL`."""
    found = [*vars(command).items(), *vars(of).items()]
    for shared in (apt, dnf, surviving, nvidia_module):
        found += [(f"{shared.__name__.rpartition('.')[2]}.{name}", text) for name, text in vars(shared).items()]
    return {text: name for name, text in found if isinstance(text, str) and "\n" in text}


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.name}" for name, case in CASES])
def test_the_steps_are_those_of_the_table(name: str, case: Case) -> None:
    table = TABLES[name]
    made = [row(one, scripts(module(table))) for one in table.operation.steps(case.want, case.have)]
    assert made == list(case.commands)
    assert case.commands or case.why, "a no-op says why"


@pytest.mark.parametrize("name", TABLES)
def test_every_command_that_it_may_run_is_in_its_table(name: str) -> None:
    missed = unused(module(TABLES[name]), [TABLES[name]])
    assert not missed, f"no case of the table makes the commands of {', '.join(missed)}"


@pytest.mark.parametrize("shared", [apt, dnf, nvidia_module], ids=["apt", "dnf", "nvidia_module"])
def test_every_command_of_several_operations_is_in_some_table(shared: ModuleType) -> None:
    missed = unused(shared, list(TABLES.values()))
    assert not missed, f"no case of any table makes the commands of {', '.join(missed)}"


def unused(of: ModuleType, tables: list[Table]) -> list[str]:
    """The places in a module where commands are built that no case of the tables comes to."""
    source = Path(of.__file__ or "")
    ran: set[int] = set()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        del arg
        if frame.f_code.co_filename != str(source):
            return None
        if event == "line":
            ran.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for table in tables:
            for case in table.cases:
                list(table.operation.steps(case.want, case.have))
    finally:
        sys.settrace(before)
    building = dict(builders(ast.parse(source.read_text())))
    return [f"{source.name}:{line}" for line, whole in building.items() if not ran & set(whole)]


def builders(tree: ast.Module) -> Iterator[tuple[int, range]]:
    """Where commands are built for `steps`: what only looks is not among them."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.name == "look":
            continue
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in BUILDERS:
                yield call.lineno, range(call.lineno, (call.end_lineno or call.lineno) + 1)


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.name}" for name, case in CASES])
def test_no_value_becomes_a_part_of_a_script(name: str, case: Case) -> None:
    for want, have in hostile(case):
        for made in TABLES[name].operation.steps(want, have):
            argv, _ = unwrapped(made, scripts(module(TABLES[name])))
            texts = [argv[3]] if argv[:3] == ("sh", "-eu", "-c") else []
            assert not any("/tmp/owned" in text for text in texts)


def hostile(case: Case) -> Iterator[tuple[Want | None, Want | None]]:
    """The case with every text of it, one after the other, made hostile; those that the model refuses are left out."""
    for side in ("want", "have"):
        value: Want | None = getattr(case, side)
        for plain in _spoiled(value.plain()) if value is not None else ():
            try:
                spoiled = type(value).model_validate(plain)  # type: ignore[arg-type]
            except ValidationError:
                continue
            yield (spoiled, case.have) if side == "want" else (case.want, spoiled)


def _spoiled(plain: Any) -> Iterator[Any]:
    """Copies of plain values with one text replaced in each."""
    if isinstance(plain, str):
        yield HOSTILE
    elif isinstance(plain, dict):
        for key, value in plain.items():
            yield from ({**plain, key: other} for other in _spoiled(value))
    elif isinstance(plain, list):
        for index, value in enumerate(plain):
            yield from ([*plain[:index], other, *plain[index + 1 :]] for other in _spoiled(value))


def test_every_operation_on_facts_has_a_table() -> None:
    kinds = {type(table.operation) for table in TABLES.values()}
    without = [kind for kind, one in OPERATIONS.items() if isinstance(one, FactOperation) and type(one) not in kinds]
    assert not without, f"write a table in {FOLDER.name}/ for {', '.join(without)}"
