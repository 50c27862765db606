"""Stands in for vLLM where a test needs an engine that starts in a second, or fails in a way of the test's choosing.

`vllm serve MODEL --host H --port P --served-model-name A B [any other flag]`, with the standard library alone.

As the real one: the port is bound at once and listens only when the model is loaded; a child process, the engine core,
does the work and writes the stages of a start to the log; the server ends when its core is gone, while a core whose
server is killed stays behind. Its core writes `STANDIN profiling begin TIME` and `end TIME`, so that a test can read
from the logs whether two of them profiled at the same time.

Settings are read at each start from `standin.json` beside this file, then from the environment in capitals after
`STANDIN_`:

    start_s      how long a start takes, 0.4 by default; half of it is profiling
    token_s      the pause before each token, 0 by default
    fail         lines that are written instead of becoming ready, before it ends with status 1
    linger       with `fail`: it does not end, as a server does that hangs on its dead core
    ignore_term  the server does not end on SIGTERM
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_DEFAULTS: dict[str, Any] = {
    "start_s": 0.4,
    "token_s": 0.0,
    "fail": "",
    "linger": False,
    "ignore_term": False,
}


def log(text: str) -> None:
    """One line to where vLLM writes its own."""
    os.write(1, f"{text}\n".encode())  # one write for a line, so that two processes never mix theirs


def settings() -> dict[str, Any]:
    """The defaults, then the file, then the environment."""
    found = dict(_DEFAULTS)
    file = Path(__file__).with_name("standin.json")
    if file.exists():
        found.update(json.loads(file.read_text()))
    for name, default in _DEFAULTS.items():
        text = os.environ.get(f"STANDIN_{name.upper()}")
        if text is not None:
            found[name] = text not in {"", "0"} if isinstance(default, bool) else type(default)(text)
    return found


def core(ready: int) -> None:
    """The engine core: loads, profiles, says so on the descriptor `ready`, then waits to be ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chosen = settings()
    log(f"(EngineCore pid={os.getpid()}) INFO [gpu_model_runner.py:1] Starting to load model standin...")
    time.sleep(chosen["start_s"] / 4)
    log("(EngineCore) INFO [default_loader.py:1] Loading weights took 0.10 seconds")
    log(f"STANDIN profiling begin {time.time():.3f} {os.getpid()}")
    time.sleep(chosen["start_s"] / 2)
    log(f"STANDIN profiling end {time.time():.3f} {os.getpid()}")
    log("(EngineCore) INFO [worker.py:1] Memory profiling takes 0.10 seconds")
    if chosen["fail"]:
        log(chosen["fail"])
        sys.exit(1)
    time.sleep(chosen["start_s"] / 4)
    log("(EngineCore) INFO [kv_cache_utils.py:1] GPU KV cache size: 12,345 tokens")
    os.write(ready, b"ready")
    os.close(ready)
    while True:
        signal.pause()


class Handler(http.server.BaseHTTPRequestHandler):
    """The OpenAI endpoints; `names` are the served ones."""

    protocol_version = "HTTP/1.1"
    names: tuple[str, ...] = ()
    token_s = 0.0

    def do_GET(self) -> None:
        """/health, /v1/models, /version, /metrics."""
        if self.path == "/health":
            self._send(200, b"", "text/plain")
        elif self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [self._model(name) for name in self.names]})
        elif self.path == "/version":
            self._json(200, {"version": "0.0.0+standin"})
        elif self.path == "/metrics":
            self._send(200, b"vllm:num_requests_running 0\n", "text/plain")
        else:
            self._error(404, "Not Found")

    def do_POST(self) -> None:
        """/v1/completions and /v1/chat/completions."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            asked = json.loads(body)
        except ValueError:
            self._error(400, "the body is no JSON")
            return
        if self.path not in {"/v1/completions", "/v1/chat/completions"}:
            self._error(404, "Not Found")
        elif asked.get("model") not in self.names:
            self._error(404, f"The model `{asked.get('model')}` does not exist.")
        elif asked.get("stream"):
            self._stream(asked, chat="chat" in self.path)
        else:
            self._answer(asked, chat="chat" in self.path)

    def log_message(self, *_arguments: object) -> None:
        """Written by `_finished` instead."""

    def _answer(self, asked: dict[str, Any], *, chat: bool) -> None:
        text = "".join(self._tokens(asked))
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        self._json(200, self._chunk(asked, {**choice, "finish_reason": "length"}, chat=chat) | self._usage(asked))
        self._finished("end")

    def _stream(self, asked: dict[str, Any], *, chat: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for token in self._tokens(asked):
                choice = {"delta": {"content": token}} if chat else {"text": token}
                self._event(json.dumps(self._chunk(asked, {**choice, "finish_reason": None}, chat=chat)))
            if (asked.get("stream_options") or {}).get("include_usage"):
                self._event(json.dumps(self._chunk(asked, None, chat=chat) | self._usage(asked)))
            self._event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
            self._finished("aborted")
        else:
            self._finished("end")

    def _event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.flush()

    def _tokens(self, asked: dict[str, Any]) -> Iterator[str]:
        for number in range(self._limit(asked)):
            time.sleep(self.token_s)
            yield f" token{number}"

    def _limit(self, asked: dict[str, Any]) -> int:
        return int(asked.get("max_tokens") or asked.get("max_completion_tokens") or 16)

    def _chunk(self, asked: dict[str, Any], choice: dict[str, Any] | None, *, chat: bool) -> dict[str, Any]:
        kind = "chat.completion" if chat else "text_completion"
        return {
            "id": "cmpl-standin",
            "object": kind + (".chunk" if asked.get("stream") and chat else ""),
            "created": int(time.time()),
            "model": asked["model"],
            "system_fingerprint": f"standin-{os.getpid()}",
            "choices": [] if choice is None else [{"index": 0, **choice}],
        }

    def _usage(self, asked: dict[str, Any]) -> dict[str, Any]:
        tokens = self._limit(asked)
        return {"usage": {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}}

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "vllm"}

    def _error(self, status: int, message: str) -> None:
        kind = "NotFoundError" if status == 404 else "BadRequestError"
        self._json(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def _json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _finished(self, how: str) -> None:
        log(f'INFO:     127.0.0.1 - "POST {self.path} HTTP/1.1" {how}')


class Server(http.server.ThreadingHTTPServer):
    """Bound from the beginning, listening only once the core is ready; long queue, as uvicorn's."""

    request_queue_size = 2048
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """A client that leaves is no error."""


def serve(arguments: argparse.Namespace) -> None:
    """The API server: starts its core, then answers until SIGTERM or the core's end."""
    log("INFO [api_server.py:1] vLLM API server version 0.0.0+standin")
    chosen = settings()
    Handler.names = tuple(arguments.served_model_name or [arguments.model])
    Handler.token_s = chosen["token_s"]
    Handler.timeout = float(os.environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "5"))
    server = Server((arguments.host, arguments.port), Handler, bind_and_activate=False)
    try:
        server.server_bind()
    except OSError as error:
        where = (arguments.host, arguments.port)
        log(f"OSError: [Errno 98] error while attempting to bind on address {where}: address already in use ({error})")
        sys.exit(1)
    worker, ready = _start_core()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if chosen["ignore_term"] else _on_term(worker))
    signal.signal(signal.SIGINT, _on_term(worker))
    if not ready.read():
        log("RuntimeError: Engine core initialization failed. See root cause above.")
        while chosen["linger"]:
            signal.pause()
        sys.exit(1)
    server.server_activate()
    log(f"INFO [launcher.py:1] Starting vLLM API server 0 on http://{arguments.host}:{arguments.port}")
    log("INFO:     Application startup complete.")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    status = worker.wait()
    log(f"ERROR [core_client.py:1] EngineDeadError: engine core proc died with status {status}")
    os._exit(1)


def _start_core() -> tuple[subprocess.Popen[bytes], Any]:
    read, write = os.pipe()
    argv = [sys.executable, "-I", "-S", __file__, "core", str(write)]
    worker = subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=(write,))
    os.close(write)
    return worker, os.fdopen(read)


def _on_term(worker: subprocess.Popen[bytes]) -> Any:
    def end(*_arguments: object) -> None:
        log("INFO [launcher.py:1] Shutting down")
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        os._exit(0)

    return end


def main() -> None:
    """The command line; flags that the stand-in has no use for are taken and ignored."""
    if sys.argv[1:2] == ["core"]:
        core(int(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(prog="vllm")
    parser.add_argument("--version", action="version", version="0.0.0+standin")
    commands = parser.add_subparsers(required=True)
    server = commands.add_parser("serve")
    server.add_argument("model", nargs="?", default="")
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=8000)
    server.add_argument("--served-model-name", nargs="*")
    known, _ignored = server.parse_known_args(sys.argv[2:]) if sys.argv[1:2] == ["serve"] else parser.parse_known_args()
    serve(known)


if __name__ == "__main__":
    main()
