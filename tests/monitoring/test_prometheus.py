"""A real Prometheus that scrapes a recorded engine: every graph of its models has something to show."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.monitoring import configuration, dashboards, rules
from tests.monitoring.stacks import planned
from tests.ports import free_ports

RECORDED = Path(__file__).with_name("recorded") / "vllm-0.32.0.txt"


class Recorded(http.server.BaseHTTPRequestHandler):
    """Answers every request with what an engine once said."""

    def do_GET(self) -> None:
        body = RECORDED.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Not into the tests' output."""


@pytest.fixture
def engine() -> Iterator[int]:
    port = free_ports(1)[0]
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Recorded) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield port
        server.shutdown()
        thread.join()


def ask(port: int, question: str) -> list[Any]:
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': question})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        result: list[Any] = json.load(answer)["data"]["result"]
        return result


def until(port: int, question: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert server.poll() is None, "Prometheus ended"
        try:
            if ask(port, question):
                return
        except OSError:
            pass
        time.sleep(0.2)  # between two questions
    pytest.fail(f"Prometheus has no answer to {question}")


def test_every_graph_of_the_models_has_something_to_show(prometheus: str, engine: int, tmp_path: Path) -> None:
    plan = planned("dev")
    assert {replica.engine.version for replica in plan.replicas} == {"0.32.0"}
    made = configuration(plan, "here", gpu_port=None)
    made["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    made["scrape_configs"] = [job for job in made["scrape_configs"] if job["job_name"] == "engines"]
    for target in made["scrape_configs"][0]["static_configs"]:
        target["targets"] = [f"127.0.0.1:{engine}"]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(made))
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules(plan, "here", gpu=False)))
    port = free_ports(1)[0]
    argv = [
        prometheus,
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(argv, cwd=tmp_path, stdout=log, stderr=log)
    try:
        until(port, "rate(vllm:generation_tokens_total[1m])", server)
        board = dashboards(plan, gpu=False)["models.json"]
        asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        assert len(asked) >= 10
        blank = [question for question in asked if not ask(port, question)]
        assert not blank, "\n".join(blank)
        assert {found["metric"]["model"] for found in ask(port, asked[0])} == {
            replica.model for replica in plan.replicas
        }
    finally:
        server.terminate()
        server.wait()
