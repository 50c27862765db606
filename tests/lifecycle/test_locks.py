"""Locks of a file backend: those of dead holders go, those of living ones are waited for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from berth.lifecycle import locks
from berth.lifecycle.errors import Busy

_HOLDER = "import sys; print(flush=True); sys.stdin.read()"


def _lock(state: Path, pid: int, *, host: str | None = None, since: datetime | None = None, name: str = "a") -> Path:
    """A lock file as Pulumi 3.250 writes it."""
    folder = state / ".pulumi" / "locks" / "organization" / "llm-serving" / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    said = {
        "pid": pid,
        "username": "me",
        "hostname": host or socket.gethostname(),
        "timestamp": (since or datetime.now(UTC)).isoformat(),
    }
    file.write_text(json.dumps(said), encoding="utf-8")
    return file


def _ended() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_of_a_dead_process_is_released_and_named(tmp_path: Path) -> None:
    said: list[str] = []
    pid = _ended()
    file = _lock(tmp_path, pid)
    locks.release(tmp_path, "llm-serving", "dev", said.append)
    assert not file.exists()
    assert len(said) == 1
    assert said[0].startswith(
        f"stack dev: released the lock of process {pid} of me on {socket.gethostname()}, since 20"
    )


def test_an_unlocked_stack_says_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    locks.release(tmp_path, "llm-serving", "dev", said.append)
    assert not said


def test_a_process_number_used_again_does_not_hold_an_old_lock(tmp_path: Path) -> None:
    file = _lock(tmp_path, os.getpid(), since=datetime.now(UTC) - timedelta(days=300))
    locks.release(tmp_path, "llm-serving", "dev", lambda _: None)
    assert not file.exists()


def test_an_unreaped_process_holds_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # its output ends with it
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    file = _lock(tmp_path, process.pid)
    locks.release(tmp_path, "llm-serving", "dev", lambda _: None)
    assert not file.exists()
    process.wait()
    process.stdout.close()


def test_a_living_holder_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        file = _lock(tmp_path, process.pid)
        held = threading.Event()

        def say(line: str) -> None:
            said.append(line)
            held.set()

        thread = threading.Thread(target=locks.release, args=(tmp_path, "llm-serving", "dev", say))
        thread.start()
        assert held.wait(10)
        assert "is being changed by process" in said[0]
        assert file.exists()
        process.stdin.close()  # it ends, and leaves its lock
        process.wait()
        thread.join(10)
    assert not thread.is_alive()
    assert not file.exists()
    assert "released the lock" in said[1]


def test_patience_ends_with_what_can_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE_S", 0.2)
    _lock(tmp_path, os.getpid())
    begin = time.monotonic()
    with pytest.raises(Busy, match=rf"wait for it, or interrupt it with `kill -INT {os.getpid()}`"):
        locks.release(tmp_path, "llm-serving", "dev", lambda _: None)
    assert time.monotonic() - begin < 5


def test_a_holder_on_another_machine_is_never_judged(tmp_path: Path) -> None:
    file = _lock(tmp_path, _ended(), host="another")
    with pytest.raises(Busy, match=r"of me on another, since .*; wait for it, or run `pulumi cancel --stack dev`"):
        locks.release(tmp_path, "llm-serving", "dev", lambda _: None)
    assert file.exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x"}', "not json"])
def test_a_lock_that_names_nobody_is_left_to_the_user(tmp_path: Path, text: str) -> None:
    file = _lock(tmp_path, 1)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Busy, match=r"has a lock without a holder .* `pulumi cancel --stack dev`"):
        locks.release(tmp_path, "llm-serving", "dev", lambda _: None)
    assert file.exists()


def test_locks_of_other_stacks_stay(tmp_path: Path) -> None:
    _lock(tmp_path, _ended())
    other = tmp_path / ".pulumi" / "locks" / "organization" / "llm-serving" / "dev2" / "b.json"
    other.parent.mkdir()
    other.write_text("{}", encoding="utf-8")
    locks.release(tmp_path, "llm-serving", "dev", lambda _: None)
    assert other.exists()
