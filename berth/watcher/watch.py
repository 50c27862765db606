"""Watches the engines behind a gateway: watch.py FOLDER ADMIN_PORT [--certificate FILE --key FILE].

FOLDER is the gateway's. Its `endpoints/` say which engines there are, its `clusters.json` which models they serve.

An engine is frozen when it shows no progress in its numbers and leaves a request of one token unanswered. What computes
shows progress, however long its queue is, so a busy engine is never taken for frozen; one whose connection is refused
is dead, which Envoy sees by itself. A frozen engine is marked as unhealthy in its endpoints file, where Envoy sends it
no new request, and the mark goes when it moves or answers again. Addresses and holds in these files are others' to
write; whoever writes holds the folder's lock, and a mark that was written over comes back with the next look.

What it sees it also writes to `status.json`, the routes of Envoy's own listener for `/health` (which models are up) and
`/engines` (numbers for Prometheus). A certificate of the user's is taken over whenever its files change.

One file of the standard library alone, for Python 3.9 or newer, since it is brought to hosts as it is and runs with
whatever Python is there: that of the gateway's environment, or that of an engine's image. That is why it is longer than
our other modules: a second file would be one more resource of every stack, and the two could be of different releases
while an update is under way. It reads from top to bottom: an engine, the files about it, the report, the certificate.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOOK_S = 1.0
STILL_S = 3.0
"""So long without progress, and an engine is asked for one token; an idle engine is asked as often."""
ANSWER_S = 8.0
"""So long without an answer and without progress, and it is frozen: out of rotation 12 to 13 s after it froze."""
METRICS_S = 10.0
"""How long the numbers of an engine may take; one that has much to do may be slow with them, too."""
DEAD_PORT = 1
LEAST_ANSWER = 4096
"""Bytes of an answer that Envoy takes without being told."""
EDITED = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What comes of reading a file that is being removed, or that somebody edited by hand into another shape."""
PROGRESS = re.compile(
    r"^(?:vllm:(?:generation_tokens_total|prompt_tokens_total|iteration_tokens_total_(?:sum|count)|\w*cache_usage_perc)"
    r"|sglang:(?:generation_tokens_total|prompt_tokens_total|realtime_tokens_total|num_used_tokens|token_usage)"
    r"|tgi_(?:batch_inference_count|batch_forward_duration_count|request_generated_tokens_sum))[{ ].*",
    re.MULTILINE,
)
"""Numbers that change only while an engine computes. Those of steps and of the cache also move in a long prompt."""
PROBES = (
    ("/v1/completions", {"prompt": "a", "max_tokens": 1, "temperature": 0}),
    ("/v1/embeddings", {"input": "a"}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1, "temperature": 0}),
)
"""The smallest work of an engine; the first that it does not refuse is used from then on."""


def say(text: str) -> None:
    """One line of the log."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}", flush=True)  # noqa: T201 - its log


def ask(address: tuple[str, int], path: str, body: Any = None, timeout_s: float = 5.0) -> tuple[int, bytes]:
    """One HTTP request; raises OSError or HTTPException when there is no answer."""
    connection = http.client.HTTPConnection(*address, timeout=timeout_s)
    try:
        content = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def write(path: Path, content: Any) -> None:
    """Renames a complete file into place, as Envoy wants it."""
    new = path.with_name(f".{path.name}.watcher")
    new.write_text(json.dumps(content, indent=1))
    new.replace(path)


class Engine:
    """One engine at one address, asked by two threads: for its numbers, and for a token when these stand still."""

    still_s, answer_s = STILL_S, ANSWER_S

    def __init__(self, address: tuple[str, int], *, frozen: bool) -> None:
        self.address = address
        self.frozen = frozen
        self.wanted = True
        self._sign = time.monotonic()
        self._seen: str | None = None
        self._probe = 0
        self._models: list[str] = []
        self._blind = ""
        for work in (self._numbers, self._probes):
            threading.Thread(target=self._until_unwanted, args=(work,), daemon=True).start()

    def __str__(self) -> str:
        return "{}:{}".format(*self.address)

    def _until_unwanted(self, work: Any) -> None:
        while self.wanted:
            with contextlib.suppress(http.client.HTTPException, *EDITED):
                work()
            time.sleep(LOOK_S / 2)

    def _alive(self) -> None:
        self._sign = time.monotonic()
        if self.frozen:
            say(f"{self} moves again: back in rotation")
        self.frozen = False

    def _numbers(self) -> None:
        """Progress is any change of the numbers that only computing changes."""
        _, text = ask(self.address, "/metrics", timeout_s=METRICS_S)
        found = "\n".join(match.group() for match in PROGRESS.finditer(text.decode(errors="replace")))
        if not found:
            self._cannot_tell("it shows no numbers of tokens")
        elif found != self._seen:
            if self._seen is not None:
                self._alive()
            self._seen = found

    def _probes(self) -> None:
        """Asks for one token when nothing has moved for a while; frozen is who neither answers nor moves."""
        begin = time.monotonic()
        if begin - self._sign < self.still_s:
            return
        path, body = PROBES[self._probe]
        try:
            status, _ = ask(self.address, path, {"model": self._model(), **body}, timeout_s=self.answer_s)
        except ConnectionError:
            self._models = []
            self._alive()  # nobody is there, or it has just died: that is for Envoy's own health checks
        except (OSError, http.client.HTTPException):
            if self._sign < begin and not self._blind and not self.frozen and self.wanted:
                say(
                    f"{self} is frozen: nothing moved for {time.monotonic() - self._sign:.0f} s and one token was not "
                    f"made in {self.answer_s:.0f} s; out of rotation"
                )
                self.frozen = True
        else:
            self._answered(status)

    def _answered(self, status: int) -> None:
        self._alive()
        if status in {http.client.NOT_FOUND, http.client.METHOD_NOT_ALLOWED, http.client.BAD_REQUEST}:
            self._models = []
            self._probe = (self._probe + 1) % len(PROBES)
            if self._probe == 0:
                self._cannot_tell("it takes none of the requests that it was asked with")

    def _model(self) -> str:
        if not self._models:
            _, text = ask(self.address, "/v1/models", timeout_s=self.answer_s)
            self._models = [entry["id"] for entry in json.loads(text)["data"]]
        return self._models[0]

    def _cannot_tell(self, why: str) -> None:
        """An engine that cannot be told apart from a busy one is never taken out."""
        if not self._blind:
            say(f"{self}: {why}; it is left in rotation whatever happens to it")
        self._blind = why


class Endpoints:
    """The endpoints files of a gateway: which engines each cluster has, and which of them are marked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> dict[str, Any]:
        """The assignments by cluster; a file that is being removed or was edited by hand is left out."""
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(*EDITED):
                assignment = json.loads(path.read_text())["resources"][0]
                _ = {address_of(endpoint) for endpoint in engines_of(assignment)}  # whole, or left out
                found[assignment["cluster_name"]] = assignment
        return found

    def mark(self, frozen: set[tuple[str, int]]) -> None:
        """Marks exactly the frozen engines in every file, under the lock that all writers of these files hold."""
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(*EDITED):
                if self._marked(json.loads(path.read_text()), frozen) is not None:
                    with self._lock():
                        content = self._marked(json.loads(path.read_text()), frozen)
                        if content is not None:
                            write(path, content)

    @staticmethod
    def _marked(content: Any, frozen: set[tuple[str, int]]) -> Any:
        """The file with these marks, None when it has them; its version stays its writer's, who may wait for it."""
        changed = False
        for endpoint in engines_of(content["resources"][0]):
            mark = "UNHEALTHY" if address_of(endpoint) in frozen else None
            if endpoint.get("health_status") != mark:
                changed = True
                endpoint.pop("health_status", None)
                if mark:
                    endpoint["health_status"] = mark
        return content if changed else None

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def address_of(endpoint: Any) -> tuple[str, int]:
    """Where an engine listens."""
    where = endpoint["endpoint"]["address"]["socket_address"]
    return where["address"], where["port_value"]


def engines_of(assignment: Any) -> Iterator[Any]:
    """The engines of an endpoints file, without the dead port at which requests wait."""
    for group in assignment.get("endpoints", []):
        yield from (endpoint for endpoint in group["lb_endpoints"] if address_of(endpoint)[1] != DEAD_PORT)


def is_held(assignment: Any) -> bool:
    """Whether requests wait for an engine of this cluster."""
    groups = assignment.get("endpoints", [])
    return any(address_of(endpoint)[1] == DEAD_PORT for group in groups for endpoint in group["lb_endpoints"])


class Watcher:
    """Everything together, once a second."""

    def __init__(self, folder: Path, admin_port: int) -> None:
        self.folder = folder
        self.admin = ("127.0.0.1", admin_port)
        self.endpoints = Endpoints(folder / "endpoints")
        self.engines: dict[tuple[str, int], Engine] = {}
        self._said = ""
        self._routes_of = 0
        self._shares_of: dict[str, dict[str, float]] = {}

    def look(self) -> None:
        """One round: follow the files, mark, report."""
        assignments = self.endpoints.read()
        self._follow(assignments)
        self.endpoints.mark({address for address, engine in self.engines.items() if engine.frozen})
        with contextlib.suppress(http.client.HTTPException, *EDITED):
            self._report(assignments, self._healthy())

    def _follow(self, assignments: dict[str, Any]) -> None:
        marked = {
            address_of(endpoint): "health_status" in endpoint
            for assignment in assignments.values()
            for endpoint in engines_of(assignment)
        }
        for address in self.engines.keys() - marked.keys():
            self.engines.pop(address).wanted = False
        for address in marked.keys() - self.engines.keys():
            self.engines[address] = Engine(address, frozen=marked[address])

    def _healthy(self) -> dict[str, set[tuple[str, int]]]:
        """The engines that Envoy sends requests to, by cluster."""
        _, text = ask(self.admin, "/clusters?format=json")
        found: dict[str, set[tuple[str, int]]] = {}
        for cluster in json.loads(text)["cluster_statuses"]:
            for host in cluster.get("host_statuses", []):
                health = host["health_status"]
                sick = any(value is True for value in health.values())
                if health.get("eds_health_status") == "HEALTHY" and not sick:
                    where = host["address"]["socket_address"]
                    found.setdefault(cluster["name"], set()).add((where["address"], where["port_value"]))
        return found

    def _report(self, assignments: dict[str, Any], healthy: dict[str, set[tuple[str, int]]]) -> None:
        models: dict[str, str] = {}
        names = ("engine_frozen", "engine_in_rotation", "revision_share_percent", "revision_state")
        lines = [f"# TYPE berth_{name} gauge" for name in names]
        shares = self._shares()
        for cluster in json.loads((self.folder / "clusters.json").read_text())["resources"]:
            name, about = cluster["name"], cluster.get("metadata", {}).get("filter_metadata", {}).get("berth", {})
            if "model" not in about or name not in assignments:
                continue
            addresses = [address_of(endpoint) for endpoint in engines_of(assignments[name])]
            for address in addresses:
                labels = f'{{model="{about["model"]}",cluster="{name}",engine="{address[0]}:{address[1]}"}}'
                lines.append(f"berth_engine_frozen{labels} {int(self._frozen(address))}")
                lines.append(f"berth_engine_in_rotation{labels} {int(address in healthy.get(name, ()))}")
            state = self._state(assignments[name], addresses, healthy.get(name, set()))
            revision = about.get("revision", "")
            percent = shares.get(about["model"], {}).get(revision, 0)
            labels = f'model="{about["model"]}",revision="{revision}"'
            lines.append(f"berth_revision_share_percent{{{labels}}} {percent:g}")
            lines += [f'berth_revision_state{{{labels},state="{one}"}} {int(one == state)}' for one in _ORDER]
            if percent > 0:
                models[about["model"]] = min(state, models.get(about["model"], "down"), key=_ORDER.index)
        up = sum(state in {"up", "held"} for state in models.values())
        word = "ok" if up == len(models) else "degraded" if up else "down"
        self._publish({"status": word, "models": models}, 503 if models and not up else 200, "\n".join(lines) + "\n")

    def _shares(self) -> dict[str, dict[str, float]]:
        """The percent of each revision of each model, as the routes that Envoy reads say it."""
        path = self.folder / "routes.json"
        changed = path.stat().st_mtime_ns
        if changed != self._routes_of:
            found = {}
            for route in json.loads(path.read_text())["resources"][0]["virtual_hosts"][0]["routes"]:
                about = route.get("metadata", {}).get("filter_metadata", {}).get("berth.route", {})
                if "shares" in about:
                    found[about["model"]] = about["shares"]
            self._routes_of, self._shares_of = changed, found
        return self._shares_of

    def _frozen(self, address: tuple[str, int]) -> bool:
        return address in self.engines and self.engines[address].frozen

    def _state(self, assignment: Any, addresses: list[tuple[str, int]], healthy: set[tuple[str, int]]) -> str:
        if healthy & set(addresses):
            return "up"
        if is_held(assignment):
            return "held"
        return "frozen" if any(self._frozen(address) for address in addresses) else "down"

    def _publish(self, health: Any, status: int, numbers: str) -> None:
        """Puts the two answers into the routes of Envoy's own listener, when they are others than before."""
        text = json.dumps(health, separators=(",", ":"))
        path = self.folder / "status.json"
        content = json.loads(path.read_text())
        # Envoy refuses a file with a longer answer than it was told to expect, and shows the old one for ever.
        longest = max(len(text.encode()), len(numbers.encode()), LEAST_ANSWER)
        content["resources"][0]["max_direct_response_body_size_bytes"] = 1 << longest.bit_length()
        for route in content["resources"][0]["virtual_hosts"][0]["routes"]:
            if route["name"] == "health":
                route["direct_response"] = {"status": status, "body": {"inline_string": text}}
            elif route["name"] == "engines":
                route["direct_response"] = {"status": 200, "body": {"inline_string": numbers}}
        version = hashlib.sha256(json.dumps(content["resources"]).encode()).hexdigest()[:16]
        if content["version_info"] != version:
            content["version_info"] = version
            write(path, content)
        if text != self._said:
            say(f"models: {text}")
            self._said = text


_ORDER = ("up", "held", "frozen", "down")


class Certificate:
    """A certificate of the user's: copied beside the gateway whenever its files change and belong together."""

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        self.folder, self.sources = folder / "tls", (certificate, key)
        self._seen: Any = None

    def look(self) -> None:
        """Takes the files over when they are others than at the last look; half a replacement is no pair yet."""
        seen: list[Any]
        try:
            seen = [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in map(os.stat, self.sources)]
            if seen != self._seen:
                self._take(*(path.read_bytes() for path in self.sources))
        except OSError as error:
            seen = [str(error)]
            if seen != self._seen:
                say(f"certificate: {error}; the gateway goes on with the one it has")
        self._seen = seen

    def _take(self, certificate: bytes, key: bytes) -> None:
        name = hashlib.sha256(certificate + key).hexdigest()[:16]
        target, current = self.folder / name, self.folder / "current"
        if current.is_symlink() and current.readlink().name == name:
            return
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file, content in (("certificate.pem", certificate), ("key.pem", key)):
            descriptor = os.open(target / file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(target / "certificate.pem", target / "key.pem")
        except ssl.SSLError as error:
            say(f"certificate: {' and '.join(map(str, self.sources))} are no pair ({error}); they are not taken over")
            shutil.rmtree(target)
            return
        new = self.folder / f".{name}"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        old = current.readlink() if current.is_symlink() else None
        new.replace(current)
        say("certificate: taken over")
        if old is not None:
            shutil.rmtree(self.folder / old, ignore_errors=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("admin_port", type=int)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--still", type=float, default=STILL_S)
    parser.add_argument("--answer", type=float, default=ANSWER_S)
    chosen = parser.parse_args()
    Engine.still_s, Engine.answer_s = chosen.still, chosen.answer
    parts: list[Any] = [Watcher(chosen.folder, chosen.admin_port)]
    if chosen.certificate:
        parts.append(Certificate(chosen.folder, chosen.certificate, chosen.key))
    say(f"watching the engines of {chosen.folder}")
    while True:
        for part in parts:
            part.look()
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
