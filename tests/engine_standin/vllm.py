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
    slots        requests that it works on at a time, 256 by default; others wait
    fail         lines that are written instead of becoming ready, before it ends with status 1
    linger       with `fail`: it does not end, as a server does that hangs on its dead core
    ignore_term  the server does not end on SIGTERM
    broken       it says that it is well and answers every request with 500
    card         a folder that stands for a card; engines that name the same share its memory
    card_mib     the memory of the card
    memory_mib   what this engine takes of it while it loads, and holds until its core's process is gone

While a file `frozen` lies beside this one it accepts requests and answers none, but for its health and its numbers.
With a file `flags.json` (a release's flags, as the catalogue has them) it takes no others, and refuses them as argparse
does. Other engines are `Dialect`s of it, in files of their own; this one is a single file, as environments of processes
are given nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

_DEFAULTS: dict[str, Any] = {
    "start_s": 0.4,
    "token_s": 0.0,
    "slots": 256,
    "fail": "",
    "linger": False,
    "ignore_term": False,
    "broken": False,
    "card": "",
    "card_mib": 0,
    "memory_mib": 0,
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


@dataclass(frozen=True)
class Dialect:
    """What tells one engine from another.

    `command` starts this dialect again, for its core. `loading` and `loaded` are what the core says before and after it
    profiles, `died` what the server says when its core never became ready, `up` what it says when it has. `numbers` are
    its names for what `Work` counts. `ready_path` is the health that waits for the model; `early` is whether the port
    listens before that. With `any_model` it answers whatever model a request names.
    """

    command: tuple[str, ...]
    loading: tuple[str, ...]
    loaded: tuple[str, ...]
    died: str
    up: tuple[str, ...]
    numbers: Mapping[str, str]
    ready_path: str = "/health"
    early: bool = False
    any_model: bool = False


VLLM = Dialect(
    command=(sys.executable, "-I", "-S", __file__),
    loading=(
        "(EngineCore) INFO [gpu_model_runner.py:1] Starting to load model standin...",
        "(EngineCore) INFO [default_loader.py:1] Loading weights took 0.10 seconds",
    ),
    loaded=(
        "(EngineCore) INFO [worker.py:1] Memory profiling takes 0.10 seconds",
        "(EngineCore) INFO [kv_cache_utils.py:1] GPU KV cache size: 12,345 tokens",
    ),
    died="RuntimeError: Engine core initialization failed. See root cause above.",
    up=(
        "INFO [launcher.py:1] Starting vLLM API server 0 on http://{host}:{port}",
        "INFO:     Application startup complete.",
    ),
    numbers={
        "vllm:num_requests_running": "running",
        "vllm:num_requests_waiting": "waiting",
        "vllm:kv_cache_usage_perc": "usage",
        "vllm:prompt_tokens_total": "prompt",
        "vllm:generation_tokens_total": "generated",
        "vllm:num_preemptions_total": "preempted",
        "vllm:time_to_first_token_seconds": "first",
        "vllm:inter_token_latency_seconds": "between",
        "vllm:time_per_output_token_seconds": "between",  # as releases before 0.11 call it
        "vllm:e2e_request_latency_seconds": "whole",
        "vllm:request_queue_time_seconds": "queued",
    },
)


def take_memory(chosen: Mapping[str, Any]) -> None:
    """Takes this engine's memory of its card, or fails as CUDA does where the others leave too little.

    Each engine has a file in the card's folder, locked for as long as its process lives: so who is killed gives back,
    in whatever container it was. The most that was ever taken stands in `peak`.
    """
    if not chosen["card"]:
        return
    card = Path(chosen["card"])
    card.mkdir(parents=True, exist_ok=True)
    with (card / "ledger").open("a") as ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)
        taken = sum(_held(path) for path in card.glob("engine-*"))
        mine, total = chosen["memory_mib"], chosen["card_mib"]
        if taken + mine > total:
            log(f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {mine}.00 MiB. GPU 0 has a total ")
            log(f"capacity of {total}.00 MiB of which {total - taken}.00 MiB is free.")
            sys.exit(1)
        held = os.open(card / f"engine-{time.time_ns()}", os.O_CREAT | os.O_WRONLY, 0o666)  # until this process ends
        fcntl.flock(held, fcntl.LOCK_EX)
        os.write(held, str(mine).encode())
        peak = card / "peak"
        before = int(peak.read_text()) if peak.exists() else 0
        peak.write_text(str(max(before, taken + mine)))


def _held(path: Path) -> int:
    """What an engine holds of a card, by its file; nothing once its process is gone."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0)
    path.unlink()
    return 0


def core(ready: int, dialect: Dialect) -> None:
    """The engine core: loads, profiles, says so on the descriptor `ready`, then waits to be ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chosen = settings()
    for line in dialect.loading:
        log(line)
    time.sleep(chosen["start_s"] / 4)
    take_memory(chosen)
    log(f"STANDIN profiling begin {time.time():.3f} {os.getpid()}")
    time.sleep(chosen["start_s"] / 2)
    log(f"STANDIN profiling end {time.time():.3f} {os.getpid()}")
    if chosen["fail"]:
        log(chosen["fail"])
        log(f"STANDIN has failed at {time.time():.3f}")
        sys.exit(1)
    for line in dialect.loaded:
        log(line)
    time.sleep(chosen["start_s"] / 4)
    os.write(ready, b"ready")
    os.close(ready)
    while True:
        signal.pause()


_FROZEN = Path(__file__).with_name("frozen")
_BUCKETS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
_PROMPT = 5
"""Tokens of every prompt."""


@dataclass
class Work:
    """What the engine computes, so many requests at a time, and what it counts of that."""

    slots: threading.Semaphore
    token_s: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("running", "waiting", "prompt", "generated", "preempted"), 0.0)
    )
    times: dict[str, list[float]] = field(
        default_factory=lambda: {kind: [0.0] * (len(_BUCKETS) + 2) for kind in ("first", "between", "whole", "queued")}
    )

    def tokens(self, limit: int) -> Iterator[str]:
        """One request from its place in the queue to its last token."""
        begin = last = time.monotonic()
        self._add("waiting", 1)
        try:
            self._thaw()
            self.slots.acquire()
        finally:
            self._add("waiting", -1)
        self._add("running", 1)
        self._took("queued", begin)
        try:
            self._add("prompt", _PROMPT)
            for number in range(limit):
                time.sleep(self.token_s)
                self._thaw()
                self._add("generated", 1)
                self._took("between" if number else "first", last)
                last = time.monotonic()
                yield f" token{number}"
            self._took("whole", begin)
        finally:
            self.slots.release()
            self._add("running", -1)

    def numbers(self, names: Mapping[str, str]) -> str:
        """All of them, as Prometheus reads them."""
        lines: list[str] = []
        with self.lock:
            for name, kind in names.items():
                if kind in self.times:
                    *buckets, count, total = self.times[kind]
                    lines += [f'{name}_bucket{{le="{le}"}} {n}' for le, n in zip(_BUCKETS, buckets, strict=True)]
                    lines += [f'{name}_bucket{{le="+Inf"}} {count}', f"{name}_count {count}", f"{name}_sum {total}"]
                else:
                    usage = min(self.counts["running"] / 100, 1.0)
                    lines.append(f"{name} {usage if kind == 'usage' else self.counts[kind]}")
        return "\n".join([*lines, ""])

    @staticmethod
    def _thaw() -> None:
        while _FROZEN.exists():
            time.sleep(0.05)

    def _add(self, kind: str, what: float) -> None:
        with self.lock:
            self.counts[kind] += what

    def _took(self, kind: str, since: float) -> None:
        took = time.monotonic() - since
        with self.lock:
            held = self.times[kind]
            for place, bound in enumerate(_BUCKETS):
                held[place] += took <= bound
            held[-2] += 1
            held[-1] += took


class Handler(http.server.BaseHTTPRequestHandler):
    """The OpenAI endpoints; `names` are the served ones."""

    protocol_version = "HTTP/1.1"
    names: tuple[str, ...] = ()
    dialect = VLLM
    work: Work
    loaded = threading.Event()
    broken = False

    def do_GET(self) -> None:
        """Health, /v1/models, /version, /metrics."""
        if self.path in {"/health", self.dialect.ready_path}:
            if self.path != "/health" and self.loaded.is_set():
                list(self.work.tokens(1))
            self._send(200 if self.loaded.is_set() else 503, b"", "text/plain")
        elif self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [self._model(name) for name in self.names]})
        elif self.path == "/version":
            self._json(200, {"version": "0.0.0+standin"})
        elif self.path == "/metrics":
            self._send(200, self.work.numbers(self.dialect.numbers).encode(), "text/plain")
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
        if self.broken:
            self._error(500, "EngineCore encountered an issue.")
        elif self.path not in {"/v1/completions", "/v1/chat/completions"}:
            self._error(404, "Not Found")
        elif not self.dialect.any_model and asked.get("model") not in self.names:
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
        return self.work.tokens(self._limit(asked))

    def _limit(self, asked: dict[str, Any]) -> int:
        return int(asked.get("max_tokens") or asked.get("max_completion_tokens") or 16)

    def _chunk(self, asked: dict[str, Any], choice: dict[str, Any] | None, *, chat: bool) -> dict[str, Any]:
        kind = "chat.completion" if chat else "text_completion"
        return {
            "id": "cmpl-standin",
            "object": kind + (".chunk" if asked.get("stream") and chat else ""),
            "created": int(time.time()),
            "model": asked.get("model") or self.names[0],
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


def serve(dialect: Dialect, host: str, port: int, names: Sequence[str]) -> None:
    """The API server: starts its core, then answers until SIGTERM or the core's end."""
    chosen = settings()
    Handler.names, Handler.dialect, Handler.broken = tuple(names), dialect, chosen["broken"]
    Handler.work = Work(threading.Semaphore(chosen["slots"]), chosen["token_s"])
    Handler.timeout = float(os.environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "5"))
    server = Server((host, port), Handler, bind_and_activate=False)
    try:
        server.server_bind()
    except OSError as error:
        where = (host, port)
        log(f"OSError: [Errno 98] error while attempting to bind on address {where}: address already in use ({error})")
        sys.exit(1)
    answering = threading.Thread(target=server.serve_forever, daemon=True)
    if dialect.early:
        server.server_activate()
        answering.start()
    worker, ready = _start_core(dialect)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if chosen["ignore_term"] else _on_term(worker))
    signal.signal(signal.SIGINT, _on_term(worker))
    if not ready.read():
        log(dialect.died)
        while chosen["linger"]:
            signal.pause()
        os._exit(1)
    Handler.loaded.set()
    if not dialect.early:
        server.server_activate()
        answering.start()
    for line in dialect.up:
        log(line.format(host=host, port=port))
    status = worker.wait()
    log(f"ERROR [core_client.py:1] EngineDeadError: engine core proc died with status {status}")
    os._exit(1)


def _start_core(dialect: Dialect) -> tuple[subprocess.Popen[bytes], Any]:
    read, write = os.pipe()
    argv = [*dialect.command, "core", str(write)]
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


class Parser(argparse.ArgumentParser):
    """The flags of a release where `flags.json` says them, else any; `own` are those that the stand-in itself reads."""

    def __init__(self, prog: str, *own: str) -> None:
        super().__init__(prog=prog, allow_abbrev=False)
        self._table = Path(__file__).with_name("flags.json")
        for name in own:
            self.add_argument(name, nargs="*" if name == "--served-model-name" else None)
        taken = set(own)
        for flag in json.loads(self._table.read_text()) if self._table.exists() else ():
            names = [f"--{name}" for name in flag["names"]]
            if not taken & set(names):
                taken.update(names)
                self._take(flag, names)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """The command line, checked where the flags are known."""
        return self.parse_args(argv) if self._table.exists() else self.parse_known_args(argv)[0]

    def _take(self, flag: Mapping[str, Any], names: list[str]) -> None:
        if flag["type"] == "switch":
            opposite = [f"--no-{flag['name']}"] if flag["negatable"] else []
            self.add_argument(*names, *opposite, action="store_true")
            return
        kind = {"int": int, "float": float}.get(flag["type"], str)
        more: dict[str, Any] = {"nargs": "*"} if flag["many"] == "words" else {}
        if flag["many"] == "repeated":
            more["action"] = "append"
        if flag["choices"]:
            more["choices"] = [kind(choice) for choice in flag["choices"]]
        self.add_argument(*names, type=kind, **more)


def run(dialect: Dialect, start: Any) -> NoReturn:
    """The command line of a dialect, or of its core."""
    if sys.argv[1:2] == ["core"]:
        core(int(sys.argv[2]), dialect)
    start(sys.argv[1:])
    sys.exit()


def main(argv: Sequence[str]) -> None:
    """`vllm serve MODEL …`."""
    if list(argv) == ["--version"]:
        log("0.0.0+standin")
        return
    parser = Parser("vllm serve", "--host", "--port", "--served-model-name")
    parser.add_argument("model", nargs="?", default="")
    if argv[:1] != ["serve"]:
        parser.error(f"argument subparser: invalid choice: {argv[:1]}")
    chosen = parser.read(argv[1:])
    log("INFO [api_server.py:1] vLLM API server version 0.0.0+standin")
    names = chosen.served_model_name or [chosen.model]
    serve(VLLM, chosen.host or "127.0.0.1", int(chosen.port or 8000), names)


if __name__ == "__main__":
    run(VLLM, main)
