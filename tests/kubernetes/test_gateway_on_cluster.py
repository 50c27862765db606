"""The gateway of a cluster, as its pod would run it: Envoy from the rendered ConfigMap, Secret and command.

The volume is a folder that changes as Kubernetes changes one, by a link that is turned. Stand-in engines are in the
place of the pods, at the addresses that the revisions' Services would resolve to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
import yaml

from berth.kubernetes import Object, filled, objects
from berth.planner.planning import plan
from berth.spec import load
from tests.ports import free_port, free_ports

pytestmark = pytest.mark.envoy

STANDIN = Path(__file__).parents[1] / "engine_standin" / "vllm.py"
KEY = "sk-alice-0123456789abcdef0123456789abcdef"
SOURCE = {"hub": "Qwen/Qwen2.5-3B-Instruct", "revision": "aa8e72537993ba99e69dfaafa59ed015b17504d1"}
LIMIT_S = 60


def until(condition: Any, what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


class Engine:
    """A stand-in that serves the names of one revision."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.port, self._names, self._folder = free_port(), names, folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "vllm.py").write_text(STANDIN.read_text())

    def start(self) -> None:
        argv = [sys.executable, "-I", "-S", str(self._folder / "vllm.py"), "serve", "/mnt/models"]
        argv += ["--host", "127.0.0.1", "--port", str(self.port), "--served-model-name", *self._names]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Volume:
    """A projected volume: files behind one link, which is turned when their content changes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._number = folder, 0
        folder.mkdir()

    def publish(self, files: Mapping[str, str]) -> None:
        self._number += 1
        data = self.folder / f"..{self._number}"
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
        new = self.folder / "..data_tmp"
        new.symlink_to(data.name)
        new.replace(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")


class Pod:
    """The gateway's pod on this machine: its volume, its command, its engines."""

    def __init__(self, folder: Path, envoy: str) -> None:
        self.folder, self._envoy = folder, envoy
        self.port, _, self.metrics = free_ports(3)
        self.volume = Volume(folder / "v")
        self.engines = {
            "qwen": Engine(folder / "q", ["qwen", "qwen@main"]),
            "qwen-next": Engine(folder / "n", ["qwen", "qwen@next"]),
            "tiny": Engine(folder / "t", ["tiny", "tiny@main"]),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def objects(self, traffic: Mapping[str, int]) -> list[Object]:
        engine = {"engine": {"name": "vllm", "version": "0.11.0"}, "place": [{"cluster": "lab"}], "context": 4096}
        said = {
            "clusters": {"lab": {"namespace": "llm", "gpus": [{"model": "a40", "count": 3}]}},
            "models": {
                "qwen": {"source": SOURCE, **engine, "revisions": {"main": {}, "next": {}}, "traffic": dict(traffic)},
                "tiny": {"source": SOURCE, **engine},
            },
            "gateway": {"host": "lab", "port": self.port, "keys": [{"name": "alice", "secret": "alice_key"}]},
        }
        file = self.folder / "lab.yaml"
        file.write_text(yaml.safe_dump(said))
        decided = plan(load(file), "lab")
        assert decided.refusals == ()
        return [filled(one, {"alice_key": KEY}) for one in objects(decided, "lab")]

    def publish(self, traffic: Mapping[str, int]) -> Object:
        """Both sources of the volume; returns the Deployment."""
        made = self.objects(traffic)
        named = {one["kind"]: one for one in made if one["metadata"]["name"] == "lab-gateway"}
        files = {**named["ConfigMap"]["data"], **named["Secret"]["stringData"]}
        self.volume.publish({name: self.here(text) for name, text in files.items()})
        return named["Deployment"]

    def here(self, text: str) -> str:
        """Paths and names of the cluster as they are on this machine."""
        for name, engine in self.engines.items():
            place = f'"address": "{name}-engines.llm.svc",'
            before, _, after = text.partition(place)
            while after:
                text = f'{before}"address": "localhost",{after.replace("8080", str(engine.port), 1)}'
                before, _, after = text.partition(place)
        return text.replace("/etc/berth", str(self.volume.folder)).replace("/run/berth", str(self.folder / "w"))

    def start(self) -> None:
        (self.folder / "w").mkdir()
        deployment = self.publish({"main": 100, "next": 0})
        for engine in self.engines.values():
            engine.start()
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        argv = [self._envoy if word == "envoy" else self.here(word) for word in container["command"]]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        until(self.ready, "the gateway is ready")

    def ready(self) -> bool:
        """What the readiness probe asks."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://127.0.0.1:{self.metrics}/ready", timeout=5).ok
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
        for engine in self.engines.values():
            engine.kill()


@pytest.fixture(scope="module")
def pod(envoy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    running = Pod(tmp_path_factory.mktemp("pod"), envoy)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def client(pod: Pod, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{pod.port}/v1", api_key=key, max_retries=0)


def served_by(pod: Pod, model: str) -> str:
    with client(pod) as asked:
        answer = asked.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=2
        )
        return str(answer.headers["x-served-by"])


def test_the_openai_package_reaches_two_models(pod: Pod):
    with client(pod) as asked:
        assert {"qwen", "tiny"} <= {model.id for model in asked.models.list()}
        for name in ("qwen", "tiny"):
            until(lambda name=name: _answers(pod, name), f"{name} answers")
            parts = asked.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "hello"}], max_tokens=3, stream=True
            )
            assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices)


def _answers(pod: Pod, model: str) -> bool:
    try:
        return served_by(pod, model).startswith(f"{model}@")
    except openai.APIStatusError:
        return False


def test_nobody_comes_in_without_a_key(pod: Pod):
    with client(pod, "sk-wrong") as asked, pytest.raises(openai.AuthenticationError):
        asked.models.list()


def test_shares_of_traffic_change_when_the_volume_does(pod: Pod):
    until(lambda: served_by(pod, "qwen") == "qwen@main", "all to main")
    pod.publish({"main": 0, "next": 100})
    until(lambda: served_by(pod, "qwen") == "qwen@next", "all to next")
    pod.publish({"main": 100, "next": 0})
    until(lambda: served_by(pod, "qwen") == "qwen@main", "back")


def test_a_request_waits_while_the_pod_is_replaced(pod: Pod):
    until(lambda: _answers(pod, "tiny"), "tiny answers")
    engine = pod.engines["tiny"]
    engine.kill()

    async def asked() -> str:
        waiting = asyncio.create_task(asyncio.to_thread(served_by, pod, "tiny"))
        await asyncio.sleep(0)  # the request is on its way before the engine is; it may as well come later
        engine.start()
        return await asyncio.wait_for(waiting, LIMIT_S)

    assert asyncio.run(asked()) == "tiny@main"


def test_the_numbers_can_be_asked_from_outside_the_pod(pod: Pod):
    shown = requests.get(f"http://127.0.0.1:{pod.metrics}/metrics", timeout=10).text
    assert 'envoy_cluster_name="tiny@main"' in shown
    listeners = (pod.volume.folder / "listeners.json").read_text()
    assert "0.0.0.0" in listeners
