"""The probe that tells a frozen engine from a busy one, run as a kubelet would against a stand-in engine."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from berth.kubernetes import alive
from berth.watcher import watch
from tests.ports import free_port

STANDIN = Path(__file__).parents[1] / "engine_standin" / "vllm.py"


def look(port: int) -> subprocess.CompletedProcess[str]:
    """One look, as the kubelet has it."""
    python, *rest = alive.command(port)
    assert python == "python3"
    proxy = {"http_proxy": f"http://127.0.0.1:{free_port()}"}  # an engine's variables may name one
    return subprocess.run(
        [sys.executable, *rest],
        capture_output=True, text=True, timeout=alive.TIMEOUT_S, check=False, env={**os.environ, **proxy},
    )  # fmt: skip


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
        return look(self.port)

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


_WELL = {
    "/health": "",
    "/metrics": "vllm:prompt_tokens_total 5",
    "/v1/models": '{"data": [{"id": "m"}]}',
    "/v1/completions": "{}",
}


@contextlib.contextmanager
def scripted(answers: Mapping[str, Any]) -> Iterator[int]:
    """The port of a server that answers so by path: with a text, a status, after some seconds, or never (None)."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = answers.get(self.path, 404)
            if said is None or isinstance(said, float):
                over.wait(said)
                said = _WELL[self.path]
            with contextlib.suppress(OSError):  # who asked has gone
                self.send_response(said if isinstance(said, int) else 200)
                self.end_headers()
                self.wfile.write(said.encode() if isinstance(said, str) else b"")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            over.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("late", ["/health", "/metrics", "/v1/models"])
def test_one_late_answer_tells_nothing(late: str):
    with scripted({**_WELL, late: None}) as port:
        found = look(port)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.soak
def test_a_look_ends_before_the_kubelet_ends_it():
    with scripted({**_WELL, "/health": 7.5, "/metrics": 7.5, "/v1/models": 7.5, "/v1/completions": None}) as port:
        begin = time.monotonic()
        assert look(port).returncode == 0
    assert time.monotonic() - begin < alive.DEADLINE_S + 2


@pytest.mark.parametrize(("path", "refusal"), [("/v1/embeddings", 404), ("/v1/chat/completions", 400)])
def test_who_refuses_completions_is_asked_for_what_it_makes(path: str, refusal: int):
    refused = {**_WELL, "/v1/completions": refusal}
    with scripted({**refused, path: None}) as port:
        stuck = look(port)
    assert (stuck.returncode, stuck.stderr.strip()) == (1, "nothing moves, and one token was not made in 8 s")
    with scripted({**refused, path: "{}"}) as port:
        assert look(port).returncode == 0


@pytest.mark.parametrize(
    "odd",
    [
        *({"/v1/models": text} for text in ("no JSON", "[]", '{"data": []}', '{"data": null}', '{"data": ["m"]}')),
        {"/metrics": "of another kind 1"},
        {"/v1/completions": 404},  # and nothing else
        {"/v1/completions": 500},
    ],
)
def test_what_answers_as_nobody_expects_is_left_alone(odd: dict[str, Any]):
    with scripted({**_WELL, **odd}) as port:
        found = look(port)
    assert (found.returncode, found.stderr) == (0, "")


def test_one_whose_server_is_not_well_is_not():
    with scripted({**_WELL, "/health": 503}) as port:
        found = look(port)
    assert (found.returncode, found.stderr.strip()) == (1, "/health answers 503")


def test_its_times_are_as_they_are_said():
    assert f"timeout={alive.ANSWER_S})" in alive.PROGRAM
    assert f"signal.alarm({alive.DEADLINE_S})" in alive.PROGRAM


def test_it_asks_what_the_watcher_asks():
    (probes,) = re.findall(r"^probes = (\(.*?^\))", alive.PROGRAM, re.DOTALL | re.MULTILINE)
    assert eval(probes) == watch.PROBES  # noqa: S307 - our own program


def test_it_looks_at_what_the_watcher_looks_at():
    (pattern,) = re.findall(r"moves = re\.compile\((.*?), re\.M\)", alive.PROGRAM, re.DOTALL)
    assert "".join(re.findall(r'r"(.*?)"', pattern)) == watch.PROGRESS.pattern


def test_kserve_finds_no_template_in_it():
    assert "{{" not in alive.PROGRAM
    assert "}}" not in alive.PROGRAM
