"""Commands on this machine: whole arguments, whole input and output, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from berth.provider.command import Command, leashed, put, shell
from berth.provider.connection.local import LocalConnection
from berth.provider.errors import CommandFailed, Unreachable

LOCAL = LocalConnection("box")
HOSTILE = [
    "a b",
    "$(touch /tmp/pwned)",
    "`id`",
    "it's",
    '"',
    "-rf",
    "*",
    "a\nb",
    "back\\slash",
    "한국어",
    ";exit 3",
    "%s",
]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and nobody asked for has not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def until(path: Path) -> str:
    async with asyncio.timeout(10):
        while not path.exists() or not path.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
    return path.read_text().strip()


async def until_gone(pid: int, limit_s: float = 10) -> None:
    async with asyncio.timeout(limit_s):
        while alive(pid):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_value_stays_one_argument_and_nothing_of_it_runs(value: str) -> None:
    result = await LOCAL.run(shell('printf "%s|" "$@"', value, "end", says="printing"))
    assert result.stdout == f"{value}|end|"


async def test_input_and_both_outputs_are_whole() -> None:
    data = bytes(range(1, 256)) * 4000
    result = await LOCAL.run(shell("wc -c; echo bad >&2; exit 7", stdin=data, says="counting"))
    assert (result.status, result.stdout.strip(), result.stderr) == (7, str(len(data)), "bad\n")


async def test_a_line_may_be_very_long() -> None:
    result = await LOCAL.run(shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end", says="writing"))
    assert len(result.stdout) == 3_000_005


async def test_lines_come_as_they_are_written(tmp_path: Path) -> None:
    lines: list[str] = []
    go = tmp_path / "go"
    script = 'echo one; until [ -e "$1" ]; do sleep 0.05; done; printf "two\\r\\nthree"'
    running = asyncio.create_task(LOCAL.run(shell(script, str(go), says="waiting"), lines.append))
    async with asyncio.timeout(10):
        while not lines:
            await asyncio.sleep(0.01)
    assert lines == ["one"]
    go.touch()
    await running
    assert lines == ["one", "two", "three"]


async def test_a_command_that_does_not_read_its_input_is_no_failure() -> None:
    result = await LOCAL.run(shell("exit 0", stdin=b"x" * 2_000_000, says="ignoring"))
    assert result.status == 0


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(Unreachable, match=r"box: trying: .*no-such-program"):
        await LOCAL.run(Command(argv=("no-such-program",), says="trying"))


async def test_what_runs_too_long_is_ended_at_once(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    with pytest.raises(CommandFailed, match="box: sleeping: the command ran out of time"):
        await LOCAL.run(shell('echo $$ > "$1"; sleep 100', str(pid_file), says="sleeping", timeout_s=0.5))
    assert time.monotonic() - began < 3
    assert not alive(int(pid_file.read_text()))


async def test_what_is_cancelled_is_ended_at_once_and_only_once(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    running = asyncio.create_task(LOCAL.run(shell('echo $$ > "$1"; sleep 100', str(pid_file), says="sleeping")))
    pid = int(await until(pid_file))
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()  # Pulumi cancels, then the provider closes
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(pid)
    assert time.monotonic() - began < 3


async def test_what_ignores_a_polite_end_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = 'trap "" TERM; echo $$ > "$1"; while :; do sleep 0.1; done'
    running = asyncio.create_task(LOCAL.run(shell(script, str(pid_file), says="ignoring")))
    pid = int(await until(pid_file))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(pid)


async def test_a_leashed_command_gives_its_output_and_status() -> None:
    lines: list[str] = []
    result = await LOCAL.run(leashed(shell('echo "$1"; echo bad >&2; exit 7', "a b", says="working")), lines.append)
    assert (result.status, result.stdout, result.stderr) == (7, "a b\n", "bad\n")
    assert sorted(lines) == ["a b", "bad"]


async def test_a_leashed_command_ends_with_all_it_started_when_it_is_cancelled(tmp_path: Path) -> None:
    pid_file, child_file = tmp_path / "pid", tmp_path / "child"
    script = 'sleep 100 & echo $! > "$2"; echo $$ > "$1"; wait'
    command = leashed(shell(script, str(pid_file), str(child_file), says="installing", timeout_s=600))
    running = asyncio.create_task(LOCAL.run(command))
    pid, child = int(await until(pid_file)), int(await until(child_file))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until_gone(pid)
    await until_gone(child)


async def test_what_a_leashed_command_started_ends_even_if_it_is_deaf(tmp_path: Path) -> None:
    child_file = tmp_path / "child"
    script = '(trap "" TERM; while :; do sleep 0.1; done) & echo $! > "$1"; wait'
    running = asyncio.create_task(LOCAL.run(leashed(shell(script, str(child_file), says="installing"))))
    child = int(await until(child_file))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until_gone(child)


async def test_pulumi_s_own_secrets_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "p")
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "t")
    monkeypatch.setenv("PYTHONPATH", "/x")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    seen = (await LOCAL.run(shell("env", says="looking"))).stdout
    assert "PULUMI" not in seen
    assert "PYTHONPATH" not in seen
    assert "https_proxy=http://proxy:1\n" in seen
    assert f"PATH={os.environ['PATH']}\n" in seen


async def test_half_a_content_never_becomes_a_file(tmp_path: Path) -> None:
    """As when the sender is killed: its input ends before all of it has come."""
    path = tmp_path / "file"
    path.write_text("old")
    whole = put(str(path), "x" * 100_000)
    result = await LOCAL.run(Command(argv=whole.argv, stdin=b"x" * 70_000, says=whole.says))
    assert result.status != 0
    assert path.read_text() == "old"
    async with asyncio.timeout(10):  # the command is ended politely, and clears up on its own way out
        while [entry.name for entry in tmp_path.iterdir()] != ["file"]:
            await asyncio.sleep(0.01)


async def test_a_cancelled_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    reads_slowly = 'mark=$5; cat() { : > "$mark"; sleep 100; }; eval "$0"'
    whole = put(str(path), "x" * 1_000_000)
    arguments = (whole.argv[3], *whole.argv[5:], str(reading := tmp_path / "reading"))
    slow = Command(argv=("sh", "-eu", "-c", reads_slowly, *arguments), stdin=whole.stdin, says="writing")
    running = asyncio.create_task(LOCAL.run(slow))
    async with asyncio.timeout(10):
        while not reading.exists():
            await asyncio.sleep(0.01)
    reading.unlink()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert path.read_text() == "old"
    async with asyncio.timeout(10):  # the command is ended politely, and clears up on its own way out
        while [entry.name for entry in tmp_path.iterdir()] != ["file"]:
            await asyncio.sleep(0.01)
