"""The probe that tells a frozen engine from a busy one, run as a kubelet would against a stand-in engine."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from berth.kubernetes import alive
from berth.watcher import watch
from tests.ports import free_port

STANDIN = Path(__file__).parents[1] / "engine_standin" / "vllm.py"


class Engine:
    """A stand-in, with a folder in which a file freezes it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port, self.frozen = free_port(), folder / "frozen"
        (folder / "vllm.py").write_text(STANDIN.read_text())
        argv = [sys.executable, "-I", "-S", str(folder / "vllm.py"), "serve", "/mnt/models", "--host", "127.0.0.1"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*argv, "--port", str(self.port), "--served-model-name", "m"],
                stdout=log, stderr=log, start_new_session=True, env={**os.environ, **settings},
            )  # fmt: skip
        end = time.monotonic() + 60
        while not self._up():
            assert time.monotonic() < end, "the stand-in is up"
            time.sleep(0.05)

    def _up(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://127.0.0.1:{self.port}/health", timeout=5).ok
        return False

    def probe(self) -> subprocess.CompletedProcess[str]:
        """One look, as the kubelet has it."""
        python, *rest = alive.command(self.port)
        assert python == "python3"
        proxy = {"http_proxy": f"http://127.0.0.1:{free_port()}"}  # an engine's variables may name one
        return subprocess.run(
            [sys.executable, *rest],
            capture_output=True, text=True, timeout=alive.TIMEOUT_S, check=False, env={**os.environ, **proxy},
        )  # fmt: skip

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.kill()


def test_one_that_answers_is_alive(engine: Engine):
    assert engine.probe().returncode == 0


def test_one_that_stands_still_is_not_and_is_again_when_it_moves(engine: Engine):
    engine.frozen.touch()
    assert requests.get(f"http://127.0.0.1:{engine.port}/health", timeout=5).ok  # which is why this is not asked
    stuck = engine.probe()
    assert (stuck.returncode, stuck.stderr.strip()) == (1, "nothing moves, and one token was not made in 8 s")
    engine.frozen.unlink()
    assert engine.probe().returncode == 0


def test_a_busy_one_is_alive(tmp_path: Path):
    """All its places are taken for longer than the probe waits: its numbers move."""
    engine = Engine(tmp_path, STANDIN_SLOTS="1", STANDIN_TOKEN_S="0.5")
    try:
        body = {"model": "m", "prompt": "a", "max_tokens": 60}
        ask = ["curl", "-s", f"http://127.0.0.1:{engine.port}/v1/completions", "-d", str(body).replace("'", '"')]
        with subprocess.Popen(ask, stdout=subprocess.DEVNULL) as client:
            begin = time.monotonic()
            assert engine.probe().returncode == 0
            assert time.monotonic() - begin >= alive.ANSWER_S, "it waited for its place"
            client.kill()
    finally:
        engine.kill()


def test_one_that_is_gone_is_not(engine: Engine):
    engine.kill()
    assert engine.probe().returncode == 1


def test_it_looks_at_what_the_watcher_looks_at():
    (pattern,) = re.findall(r"moves = re\.compile\((.*?), re\.M\)", alive.PROGRAM, re.DOTALL)
    assert "".join(re.findall(r'r"(.*?)"', pattern)) == watch.PROGRESS.pattern


def test_kserve_finds_no_template_in_it():
    assert "{{" not in alive.PROGRAM
    assert "}}" not in alive.PROGRAM
