"""Mending state files; the half ones are written here as a kill leaves them."""

from pathlib import Path

import pytest

from berth.lifecycle.halves import mend


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / ".pulumi/stacks/llm-serving"
    folder.mkdir(parents=True)
    return folder / "dev.json"


def told(tmp_path: Path) -> list[str]:
    said: list[str] = []
    mend(tmp_path, "llm-serving", "dev", said.append)
    return said


def test_a_whole_state_is_left_alone(tmp_path: Path, file: Path):
    file.write_text("{}")
    assert told(tmp_path) == []
    assert file.read_text() == "{}"


def test_no_state_is_nothing_to_mend(tmp_path: Path, file: Path):
    assert told(tmp_path) == []
    assert not file.exists()


@pytest.mark.parametrize("half", ["", '{"version": 3, "check'])
def test_a_half_state_gives_way_to_the_one_before(tmp_path: Path, file: Path, half: str):
    file.write_text(half)
    file.with_name("dev.json.bak").write_text('{"version": 3}')
    assert len(told(tmp_path)) == 1
    assert file.read_text() == '{"version": 3}'


@pytest.mark.parametrize("before", [None, ""])
def test_a_first_half_state_is_dropped(tmp_path: Path, file: Path, before: str | None):
    file.write_text("")
    if before is not None:
        file.with_name("dev.json.bak").write_text(before)
    assert len(told(tmp_path)) == 1
    assert not file.exists()
