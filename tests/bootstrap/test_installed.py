"""The Pulumi that a machine has: used when it serves, else left alone with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap import installed
from bootstrap.errors import Unavailable


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("v3.250.0\n", (3, 250, 0)),
        ("3.9.12", (3, 9, 12)),
        ("", None),
        ("v3.251.0-alpha.1730a38", None),
        ("v3.250", None),
        ("error: no such file", None),
    ],
)
def test_reads_released_versions_only(text: str, numbers: tuple[int, int, int] | None) -> None:
    assert installed.version(text) == numbers


@pytest.mark.parametrize(
    ("said", "host", "why"),
    [
        ("v3.250.0", True, None),
        ("v3.250.1", True, None),
        ("v3.300.0", True, None),
        ("v3.249.9", True, "is v3.249.9, must be 3.250.0 or a newer 3.x"),
        ("v3.9.0", True, "must be 3.250.0"),
        ("v4.0.0", True, "must be 3.250.0 or a newer 3.x"),
        ("v3.250.0", False, "has no pulumi-language-python"),
        ("", True, "must be a release"),
        ("v3.250.0-dev.0", True, "must be a release"),
    ],
)
def test_decides_whether_an_installed_one_serves(said: str, host: bool, why: str | None) -> None:
    if why is None:
        installed.judge(said, language_host=host)
        return
    with pytest.raises(Unavailable, match=why):
        installed.judge(said, language_host=host)


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_uses_a_new_enough_one_where_it_lies_and_with_a_home_of_our_own(tmp_path: Path) -> None:
    _program(tmp_path / "bin", "pulumi", f'echo "$PULUMI_HOME" > {tmp_path}/asked; echo v3.260.1')
    _program(tmp_path / "bin", "pulumi-language-python", "exit 0")
    assert installed.find(tmp_path / "home", str(tmp_path / "bin")) == tmp_path / "bin"
    assert (tmp_path / "asked").read_text().strip() == str(tmp_path / "home")


def test_follows_a_link_to_find_the_language_host(tmp_path: Path) -> None:
    _program(tmp_path / "opt", "pulumi", "echo v3.250.0")
    _program(tmp_path / "opt", "pulumi-language-python", "exit 0")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pulumi").symlink_to(tmp_path / "opt" / "pulumi")
    assert installed.find(tmp_path / "home", str(tmp_path / "bin")) == tmp_path / "bin"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "is not installed"),
        ("exit 3", "does not start"),
        ("echo v3.1.0", "is v3.1.0"),
    ],
)
def test_says_why_the_installed_one_does_not_serve(tmp_path: Path, script: str | None, why: str | None) -> None:
    (tmp_path / "bin").mkdir()
    if script is not None:
        _program(tmp_path / "bin", "pulumi", script)
    with pytest.raises(Unavailable, match=why):
        installed.find(tmp_path / "home", str(tmp_path / "bin"))
