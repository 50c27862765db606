"""Files: what is run for which difference, and what is there afterwards."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from berth.provider.command import Command, put
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operations.file import File, FileWant

FILE = File()
WANT = FileWant(host="box", path="/etc/app/it", content="x\n", mode="0640", owner="root:root")
WRITE = put("/etc/app/it", "x\n", mode="0640", owner="root:root")
HOSTILE = [
    "a b",
    "-rf",
    "it's",
    '"',
    "$(touch pwned)",
    "`id`",
    "a\nb",
    "end\n",
    "*",
    "back\\slash",
    "한국어",
    "a;b",
    "%s",
]


def want(path: Path, content: str = "x\n", **more: str | bool) -> FileWant:
    return FileWant.model_validate({"host": "box", "path": str(path), "content": content, **more})


@pytest.mark.parametrize(
    ("have", "steps"),
    [
        pytest.param(None, [WRITE], id="missing"),
        pytest.param(WANT.model_copy(update={"content": "y"}), [WRITE], id="other content"),
        pytest.param(WANT.model_copy(update={"mode": "0777"}), [WRITE], id="other mode"),
        pytest.param(WANT.model_copy(update={"owner": "a:b"}), [WRITE], id="other owner"),
    ],
)
def test_each_difference_is_answered_by_one_whole_file(have: FileWant | None, steps: list[Command]) -> None:
    assert FILE.steps(WANT, have) == steps


def test_the_whole_command() -> None:
    (command,) = FILE.steps(WANT, None)
    assert command.argv[:3] == ("sh", "-eu", "-c")
    assert command.argv[4:] == ("berth", "/etc/app/it", "0640", "root:root", "2")
    assert command.stdin == b"x\n"
    assert command.says == "writing /etc/app/it"


def test_removing_touches_the_file_alone() -> None:
    (command,) = FILE.steps(None, WANT)
    assert command.argv == ("sh", "-eu", "-c", 'rm -f -- "$1"', "berth", "/etc/app/it")
    assert FILE.steps(None, None) == []


def test_what_is_as_declared_differs_in_nothing() -> None:
    assert FILE.differing(WANT, WANT) == []


def test_no_content_is_ever_an_argument() -> None:
    (command,) = FILE.steps(WANT.model_copy(update={"content": "s3cret", "mode": "0600", "sensitive": True}), None)
    assert not any("s3cret" in argument for argument in command.argv)
    assert "s3cret" not in command.says


@pytest.mark.parametrize("mode", ["644", "0o644", "rw", "0888", ""])
def test_a_mode_is_four_octal_digits(mode: str) -> None:
    with pytest.raises(ValidationError, match="mode"):
        want(Path("/x"), mode=mode)


@pytest.mark.parametrize("mode", ["0644", "0640", "0601"])
def test_a_sensitive_file_is_closed_to_others(mode: str) -> None:
    with pytest.raises(ValidationError, match=f"mode {mode} lets others at a sensitive file; it must be 0600 or 0400"):
        want(Path("/x"), mode=mode, sensitive=True)


@pytest.mark.parametrize("path", ["it", "./it", "-d/it"])
async def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: Host, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    declared = want(Path(path))
    await FILE.converge(host, declared, declared)
    assert (tmp_path / path).read_text() == "x\n"


@pytest.mark.parametrize("name", HOSTILE)
async def test_names_are_only_names(host: Host, tmp_path: Path, name: str) -> None:
    declared = want(tmp_path / name / name, content=name)
    await FILE.converge(host, declared, declared)
    assert (tmp_path / name / name).read_text() == name
    assert await FILE.observe(host, declared) == declared
    await FILE.converge(host, None, declared)
    assert list((tmp_path / name).iterdir()) == []
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


async def test_mode_and_owner_are_made_seen_and_repaired(host: Host, tmp_path: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    group = tmp_path.group()
    declared = want(tmp_path / "it", mode="0400", owner=f"{user}:{group}")
    await FILE.converge(host, declared, declared)
    assert stat.S_IMODE((tmp_path / "it").stat().st_mode) == 0o400
    (tmp_path / "it").chmod(0o666)
    seen = await FILE.observe(host, declared)
    assert FILE.differing(declared, seen) == ["mode"]
    await FILE.converge(host, declared, declared)
    assert stat.S_IMODE((tmp_path / "it").stat().st_mode) == 0o400


async def test_what_is_as_declared_is_not_written_again(host: Host, tmp_path: Path, said: list[str]) -> None:
    declared = want(tmp_path / "it")
    await FILE.converge(host, declared, declared)
    written = (tmp_path / "it").stat().st_ino
    said.clear()
    await FILE.converge(host, declared, declared)
    assert (tmp_path / "it").stat().st_ino == written
    assert said == []


async def test_a_folder_in_its_place_is_refused_and_kept(host: Host, tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it/kept").write_text("kept")
    declared = want(tmp_path / "it")
    with pytest.raises(BadInput, match="is a folder, must be a file; move it away"):
        await FILE.converge(host, declared, declared)
    assert (tmp_path / "it/kept").read_text() == "kept"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["it"]


async def test_a_file_in_a_folder_s_place_is_told_and_kept(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    declared = want(tmp_path / "file/it")
    with pytest.raises(Exception, match=r"box: writing .*/file/it: "):
        await FILE.converge(host, declared, declared)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("content", ["x\n", "other"])
async def test_a_link_is_replaced_and_what_it_points_at_is_left(host: Host, tmp_path: Path, content: str) -> None:
    (tmp_path / "far").write_text(content)
    (tmp_path / "it").symlink_to(tmp_path / "far")
    declared = want(tmp_path / "it")
    await FILE.converge(host, declared, declared)
    assert not (tmp_path / "it").is_symlink()
    assert (tmp_path / "far").read_text() == content


async def test_a_link_that_leads_nowhere_is_replaced(host: Host, tmp_path: Path) -> None:
    (tmp_path / "it").symlink_to(tmp_path / "nowhere")
    declared = want(tmp_path / "it")
    await FILE.converge(host, declared, declared)
    assert not (tmp_path / "it").is_symlink()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("bytes_", [b"\xff\xfe\x00", b"x", b"x\n\n", b"x\r\n", b""])
async def test_any_other_bytes_differ_in_the_content_alone(host: Host, tmp_path: Path, bytes_: bytes) -> None:
    (tmp_path / "it").write_bytes(bytes_)
    (tmp_path / "it").chmod(0o644)
    declared = want(tmp_path / "it")
    assert FILE.differing(declared, await FILE.observe(host, declared)) == ["content"]
    await FILE.converge(host, declared, declared)
    assert (tmp_path / "it").read_bytes() == b"x\n"


async def test_a_large_content_goes_and_comes_whole(host: Host, tmp_path: Path) -> None:
    declared = want(tmp_path / "it", content="0123456789\n" * 300_000)
    await FILE.converge(host, declared, declared)
    assert await FILE.observe(host, declared) == declared
