"""Folders: made with their mode, never emptied."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.operations.directory import Directory, DirectoryWant

DIRECTORY = Directory()


def want(path: Path, mode: str = "0750") -> DirectoryWant:
    return DirectoryWant(host="box", path=str(path), mode=mode)


@pytest.mark.parametrize("name", ["a b", "-rf", "it's", "$(touch pwned)", "end\n", "한국어"])
async def test_it_is_made_with_the_folders_above_it_and_left_alone(
    host: Host, tmp_path: Path, said: list[str], name: str
) -> None:
    declared = want(tmp_path / name / name)
    await DIRECTORY.converge(host, declared, declared)
    assert stat.S_IMODE((tmp_path / name / name).stat().st_mode) == 0o750
    said.clear()
    assert await DIRECTORY.converge(host, declared, declared) == declared
    assert said == []


async def test_another_mode_is_seen_and_set(host: Host, tmp_path: Path) -> None:
    declared = want(tmp_path / "it")
    await DIRECTORY.converge(host, declared, declared)
    (tmp_path / "it").chmod(0o777)
    assert DIRECTORY.differing(declared, await DIRECTORY.observe(host, declared)) == ["mode"]
    await DIRECTORY.converge(host, declared, declared)
    assert stat.S_IMODE((tmp_path / "it").stat().st_mode) == 0o750


async def test_removed_it_goes_when_empty_and_stays_with_what_is_in_it(host: Host, tmp_path: Path) -> None:
    for kept in ("", "file"):
        declared = want(tmp_path / "it")
        await DIRECTORY.converge(host, declared, declared)
        if kept:
            (tmp_path / "it" / kept).touch()
        await DIRECTORY.converge(host, None, declared)
        assert (tmp_path / "it").exists() == bool(kept)
        await DIRECTORY.converge(host, None, declared)


@pytest.mark.parametrize("kind", ["file", "link"])
async def test_what_is_in_its_place_is_told_and_kept(host: Host, tmp_path: Path, kind: str) -> None:
    (tmp_path / "far").mkdir(mode=0o755)
    if kind == "file":
        (tmp_path / "it").write_text("kept")
    else:
        (tmp_path / "it").symlink_to(tmp_path / "far")
    declared = want(tmp_path / "it")
    with pytest.raises(ProviderError, match="box: "):
        await DIRECTORY.converge(host, declared, declared)
    assert (tmp_path / "it").is_file() or (tmp_path / "it").is_symlink()
    assert stat.S_IMODE((tmp_path / "far").stat().st_mode) == 0o755
