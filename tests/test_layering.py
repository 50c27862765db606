"""Imports follow the arrows of the design and never go back: `spec <- planner <- components -> provider`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ALLOWED = {
    "berth.catalogue": (),
    "berth.facts": ("berth.catalogue",),
    "berth.engines": ("berth.catalogue",),
    "berth.spec": ("berth.catalogue",),
    "berth.planner": ("berth.catalogue", "berth.engines", "berth.facts", "berth.spec"),
    "berth.doctor": ("berth.catalogue", "berth.facts", "berth.planner"),
    "berth.monitoring": ("berth.catalogue", "berth.engines", "berth.planner.plan"),
    "berth.shapes": ("berth.catalogue", "berth.planner", "berth.spec"),
    "berth.gateway": ("berth.catalogue", "berth.planner.plan"),
    "berth.watcher": (),
    "berth.running": ("berth.catalogue", "berth.engines", "berth.facts"),
    "berth.importing": ("berth.catalogue", "berth.engines", "berth.facts", "berth.running", "berth.spec"),
    "berth.kubernetes": (
        *("berth.catalogue", "berth.engines", "berth.gateway", "berth.monitoring", "berth.planner.plan"),
    ),
    "berth.report": ("berth.catalogue", "berth.planner.plan", "berth.planner.verdict"),
    "berth.provider": ("berth.catalogue", "berth.engines", "berth.facts", "berth.gateway", "berth.running"),
    "berth.lifecycle": (),
    "components": (
        *("berth.catalogue", "berth.engines", "berth.facts", "berth.gateway", "berth.kubernetes", "berth.monitoring"),
        *("berth.planner", "berth.provider", "berth.watcher"),
    ),
    "bootstrap": (),
    "berth.cli": ("berth",),
}
"""What a room may import of ours beside itself. The command, the program and modules beside the rooms tie them up."""

SPEAKS_PULUMI = ("components", "berth.provider", "__main__")
FIRST = {"bootstrap"}
"""Runs before anything is installed: the standard library alone."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of ours by its dotted name."""
    for top in ("berth", "components", "bootstrap"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path
    yield "__main__", ROOT / "__main__.py"


def imports(module: str, path: Path) -> Iterator[tuple[int, str]]:
    """What a file imports, wherever it stands in it, each with its line; a relative import by its whole name."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, name
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def within(name: str, room: str) -> bool:
    """Whether a module is a room or lies in it."""
    return name == room or name.startswith(f"{room}.")


def test_no_room_imports_against_the_arrows() -> None:
    wrong = []
    for module, path in modules():
        room = next((room for room in ALLOWED if within(module, room)), None)
        if room is None:
            continue
        for line, name in imports(module, path):
            ours = any(within(name, top) for top in ("berth", "components", "bootstrap", "__main__"))
            # `from berth.planner import plan` names the room first and the module after it
            container = any(allowed.startswith(f"{name}.") for allowed in ALLOWED[room])
            if ours and not container and not any(within(name, allowed) for allowed in (room, *ALLOWED[room])):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}, which {room} must not know")
    assert not wrong, "\n".join(wrong)


def test_only_the_last_rooms_speak_to_pulumi() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in modules()
        for line, name in imports(module, path)
        if within(name, "pulumi") and not any(within(module, room) for room in SPEAKS_PULUMI)
    ]
    assert not wrong, "\n".join(wrong)


def test_what_runs_first_needs_nothing_installed() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in modules()
        if module.split(".")[0] in FIRST
        for line, name in imports(module, path)
        if name.split(".")[0] not in {*sys.stdlib_module_names, *FIRST}
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_is_held_to_its_place() -> None:
    rooms = {f"berth.{path.name}" for path in (ROOT / "berth").iterdir() if any(path.glob("*.py")) and path.is_dir()}
    assert rooms <= set(ALLOWED), f"say in ALLOWED what {', '.join(sorted(rooms - set(ALLOWED)))} may import"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import berth.spec.stack", ["berth.spec.stack"]),
        ("from berth import spec", ["berth", "berth.spec"]),
        ("def f():\n    from berth.spec import load", ["berth.spec", "berth.spec.load"]),
        ("from . import connection", ["berth.provider", "berth.provider.connection"]),
        ("from ..spec import load", ["berth.spec", "berth.spec.load"]),
    ],
)
def test_imports_are_found_however_they_are_written(source: str, found: list[str], tmp_path: Path) -> None:
    file = tmp_path / "host.py"
    file.write_text(source)
    assert [name for _, name in imports("berth.provider.host", file)] == found
