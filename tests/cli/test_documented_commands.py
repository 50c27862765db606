"""Every command that the documentation shows is one, with options that it has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from berth import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = get_command(cli.app).commands  # type: ignore[attr-defined] # an app of several commands is a group
TARGETS = set(re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())


def shown(program: str) -> list[str]:
    """Its command lines in blocks for a terminal and between backticks, each once, without what stands after `#`."""
    lines = set()
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"^```(?:console|sh|bash|shell)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in [*"".join(blocks).splitlines(), *re.findall(r"`([^`\n]+)`", text)]:
            said = line.strip().removeprefix("$ ")
            if said.startswith(f"{program} "):
                lines.add(shlex.join(shlex.split(said.replace("…", ""), comments=True)))
    return sorted(lines)


@pytest.mark.parametrize("line", shown("berth"))
def test_a_command_has_the_options_that_are_shown(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    if name.startswith("-"):
        return
    assert name in COMMANDS
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("line", shown("make"))
def test_a_target_is_there(line: str) -> None:
    wanted = {word for word in shlex.split(line)[1:] if "=" not in word}
    assert wanted <= TARGETS
