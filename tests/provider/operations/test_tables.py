"""Every operation against its table or its scenes: each command in one of them, and hostile values in all.

What an operation on facts runs is `steps` alone, so that each has a table of want and have with the exact commands. The
others look, wait and turn traffic while they converge; a table of `steps` would not show what they run. Their scenes go
all of their ways against a host that records, and the same is asked of every command that reaches it.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from berth.provider import command, nvidia_module
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want
from berth.provider.packaging import apt, dnf, surviving
from berth.provider.registry import OPERATIONS
from tests.provider.operations.scenes import SCENES
from tests.provider.operations.tables.case import Case, Table, row

FOLDER = Path(__file__).with_name("tables")
TABLES: dict[str, Table] = {
    path.stem: importlib.import_module(f"tests.provider.operations.tables.{path.stem}").TABLE
    for path in sorted(FOLDER.glob("*.py"))
    if path.stem != "case"
}
CASES = [(name, case) for name, table in TABLES.items() for case in table.cases]
HOSTILE = ("x'; touch /tmp/owned; $(touch /tmp/owned) `id` \"\\", "x;$(id)", "-rf", "a\nb")
SECRET = "s3cret"
PROVIDER = Path(command.__file__).parent
NO_OPERATIONS = {"connection", "kubernetes", "command.py", "host.py", "locks.py"}
"""What carries commands, what talks to clusters, and what a host is asked and locked by, whatever the operation."""
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
    with ran_lines(source) as ran:
        _all_steps(tables)
    return _unreached(source, ran[source], builders(ast.parse(source.read_text())))


def _all_steps(tables: Iterable[Table]) -> None:
    for table in tables:
        for case in table.cases:
            list(table.operation.steps(case.want, case.have))


def _unreached(source: Path, ran: set[int], building: Iterable[tuple[int, range]]) -> list[str]:
    return [f"{source.name}:{line}" for line, whole in dict(building).items() if not ran & set(whole)]


@contextlib.contextmanager
def ran_lines(*sources: Path) -> Iterator[dict[Path, set[int]]]:
    """The lines of these files that run within the context."""
    ran: dict[str, set[int]] = {str(source): set() for source in sources}

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        del arg
        lines = ran.get(frame.f_code.co_filename)
        if lines is None:
            return None
        if event == "line":
            lines.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    found: dict[Path, set[int]] = {}
    try:
        yield found
    finally:
        sys.settrace(before)
        found.update({Path(name): lines for name, lines in ran.items()})


def builders(tree: ast.Module, *, looks: bool = False) -> Iterator[tuple[int, range]]:
    """Where commands are built: for `steps`, and with `looks` also those that only look, wait or ask."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef) if looks else ast.FunctionDef
    for node in ast.walk(tree):
        if not isinstance(node, kinds) or (node.name == "look" and not looks):
            continue
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in BUILDERS:
                yield call.lineno, range(call.lineno, (call.end_lineno or call.lineno) + 1)


def test_every_command_of_the_provider_is_in_a_table_or_a_scene() -> None:
    sources = [path for path in sorted(PROVIDER.rglob("*.py")) if not NO_OPERATIONS & set(path.parts)]
    with ran_lines(*sources) as ran:
        _all_steps(TABLES.values())
        for scene in SCENES.values():
            asyncio.run(scene.play(scene.want))
    missed = [
        place
        for source in sources
        for place in _unreached(source, ran[source], builders(ast.parse(source.read_text()), looks=True))
    ]
    assert not missed, f"no table and no scene makes the commands of {', '.join(missed)}"


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.name}" for name, case in CASES])
def test_no_value_becomes_a_part_of_a_script(name: str, case: Case) -> None:
    for want, have in hostile(case):
        assert_constant(TABLES[name].operation.steps(want, have))


@pytest.mark.parametrize("name", SCENES)
async def test_no_value_of_a_scene_becomes_a_part_of_a_script_and_no_secret_an_argument(name: str) -> None:
    scene = SCENES[name]
    for want in [scene.want, *spoiled(scene.want)]:
        ran = await scene.play(want)
        assert ran
        assert_constant(ran)
        assert not any(SECRET in word for command in ran for word in command.argv)


def assert_constant(commands: Iterable[Command]) -> None:
    """All scripts of commands, and those within them, are written in the provider's source as they are."""
    for made in commands:
        for text in _scripts(made.argv):
            assert text in CONSTANTS, text


def _scripts(argv: Sequence[str]) -> Iterator[str]:
    for place, word in enumerate(argv):
        if word == "sh" and argv[place + 1 : place + 2] in (("-c",), ("-eu",), ("-euc",)):
            flag = next(at for at in range(place + 1, len(argv)) if "c" in argv[at])
            yield argv[flag + 1]


def _constants() -> set[str]:
    """All texts of the provider's source: those written there, and those that its modules are put together from."""
    found: set[str] = set()
    for path in PROVIDER.rglob("*.py"):
        found |= {node.value for node in ast.walk(ast.parse(path.read_text())) if _is_text(node)}
    for name, one in list(sys.modules.items()):
        if name.startswith("berth.provider"):
            found |= {value for value in vars(one).values() if isinstance(value, str)}
    return found


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def hostile(case: Case) -> Iterator[tuple[Want | None, Want | None]]:
    """The case with every text of it, one after the other, made hostile; those that the model refuses are left out."""
    for side in ("want", "have"):
        value: Want | None = getattr(case, side)
        for other in spoiled(value) if value is not None else ():
            yield (other, case.have) if side == "want" else (case.want, other)


def spoiled(value: Want) -> Iterator[Want]:
    """The declaration with every text of it, one after the other, made hostile in ways that the model allows."""
    for word in HOSTILE:
        for plain in _spoiled(value.plain(), word):
            with contextlib.suppress(ValidationError):
                yield type(value).model_validate(plain)


def _spoiled(plain: Any, word: str) -> Iterator[Any]:
    """Copies of plain values with one text replaced in each."""
    if isinstance(plain, str):
        yield word
    elif isinstance(plain, dict):
        for key, value in plain.items():
            yield from ({**plain, key: other} for other in _spoiled(value, word))
    elif isinstance(plain, list):
        for index, value in enumerate(plain):
            yield from ([*plain[:index], other, *plain[index + 1 :]] for other in _spoiled(value, word))


def test_every_operation_on_facts_has_a_table() -> None:
    kinds = {type(table.operation) for table in TABLES.values()}
    without = [kind for kind, one in OPERATIONS.items() if isinstance(one, FactOperation) and type(one) not in kinds]
    assert not without, f"write a table in {FOLDER.name}/ for {', '.join(without)}"


def test_every_other_operation_that_runs_commands_has_a_table_or_a_scene() -> None:
    shown = {type(scene.want) for scene in SCENES.values()} | {table.operation.wants for table in TABLES.values()}
    without = [
        kind
        for kind, one in OPERATIONS.items()
        if one.wants not in shown and list(builders(_tree(type(one).__module__), looks=True))
    ]
    assert not without, f"write a scene in scenes.py for {', '.join(without)}"


def _tree(name: str) -> ast.Module:
    return ast.parse(Path(sys.modules[name].__file__ or "").read_text())


@pytest.mark.parametrize("name", SCENES)
async def test_what_needs_root_is_done_by_one_update_at_a_time(name: str) -> None:
    """What belongs to the stack alone is done with the rights of the login; anything else waits for the host's lock."""
    scene = SCENES[name]
    (operation,) = (one for one in OPERATIONS.values() if type(scene.want) is one.wants)
    assert operation.alone(scene.want) or not any(command.root for command in await scene.play(scene.want))


@pytest.mark.parametrize("name", TABLES)
def test_what_a_table_does_as_root_is_done_by_one_update_at_a_time(name: str) -> None:
    table = TABLES[name]
    for case in table.cases:
        known = case.want or case.have
        if known is not None and any(command.root for command in table.operation.steps(case.want, case.have)):
            assert table.operation.alone(known), case.name


CONSTANTS = _constants()
