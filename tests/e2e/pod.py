"""A rented pod: a container with sshd and a volume, which is restarted (disk kept) and reset (volume kept alone)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml
from project import ROOT

from tests.machines.engine import Engine, cache_folder
from tests.machines.kinds import POD_WITH_PYTHON
from tests.ports import free_port
from tests.sshd.machine import SshMachine, start

VOLUME = "/workspace"
_START = """#!/bin/sh
# STAND-IN for a pod's start command as docs/pods.md gives it: sshd as the image starts it, then the stack's script.
mkdir -p /run/sshd
/usr/sbin/sshd
hook=$(cat /etc/pod-hook)
if [ -x "$hook" ]; then "$hook" > /run/hook 2>&1; echo $? >> /run/hook; fi
touch /run/booted
trap 'exit 0' TERM
sleep infinity &
wait
"""
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass
class Pod:
    """One pod on this machine; `folder` has its volume and the files that its template gives it."""

    engine: Engine
    folder: Path
    port: int = field(default_factory=free_port)
    there: SshMachine | None = None

    @property
    def volume(self) -> Path:
        """The persistent volume, as seen from here."""
        return self.folder / "volume"

    @property
    def machine(self) -> SshMachine:
        """What is reached over SSH."""
        assert self.there is not None
        return self.there

    @property
    def address(self) -> str:
        """Where its ports are reached, as by a provider's proxy."""
        name = self.machine.machine.name
        return self.engine.out("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)

    def start(self, hook: str = "") -> None:
        """Starts it from its image; `hook` is the script that its start command calls."""
        self.volume.mkdir(exist_ok=True)
        command = self.folder / "start.sh"
        command.write_text(_START)
        command.chmod(0o755)
        (self.folder / "hook").write_text(hook)
        (self.folder / "sshd.conf").write_text(f"SetEnv {self._environment()}\n")
        mounts = {
            self.volume: VOLUME,
            command: "/start.sh:ro",
            self.folder / "hook": "/etc/pod-hook:ro",
            self.folder / "sshd.conf": "/etc/ssh/sshd_config.d/environment.conf:ro",
        }
        if "SSL_CERT_FILE" in os.environ:
            mounts[Path(os.environ["SSL_CERT_FILE"])] = f"{_CERTIFICATES}:ro"
        options = [word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}")]
        self.there = start(self.engine, POD_WITH_PYTHON, port=self.port, options=options)

    def reset(self, hook: str = "") -> None:
        """What editing or restarting a rented pod does: another container of the same image, with the volume alone."""
        self.remove()
        self.start(hook)

    def restart(self, hook: str) -> None:
        """Ends all of its processes and starts it again; its disk is kept."""
        (self.folder / "hook").write_text(hook)
        self.machine.machine.reboot()

    def remove(self) -> None:
        """Ends it; its volume stays."""
        if self.there is not None:
            self.there.machine.remove()
            self.there = None

    def out(self, script: str) -> str:
        """What a script wrote there."""
        ran = self.machine.machine.run(["sh", "-euc", script])
        assert ran.code == 0, ran.err
        return ran.out.strip()

    def connection(self) -> dict[str, Any]:
        """How a stack file reaches it now: another container has another host key."""
        said = self.machine.settings("root").model_dump(exclude_none=True)
        return {"ssh": {key: said[key] for key in ("host", "port", "user", "host_key", "key_file")}}

    def _environment(self) -> str:
        """What the image of a provider would have; Python builds of uv's come from where tests must not depend on."""
        return f"SSL_CERT_FILE={_CERTIFICATES} UV_PYTHON_DOWNLOADS=never"


@contextlib.contextmanager
def rented(engine: Engine) -> Iterator[Pod]:
    """A pod that is gone with the context, its volume included.

    The volume has what uv has downloaded here already, as links: downloading is not what is tested.
    """
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="pod-") as folder:
        pod = Pod(engine, Path(folder))
        cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache/uv")
        seen = pod.volume / "berth/uv"
        seen.mkdir(parents=True)
        link = ["cp", "-al", str(cache), str(seen / "cache")]
        if cache.is_dir() and subprocess.run(link, capture_output=True, check=False).returncode:
            shutil.rmtree(seen / "cache", ignore_errors=True)  # on another disk than these tests' own cache
        try:
            pod.start()
            yield pod
        finally:
            if pod.there is not None:  # what was made there is root's, who need not run these tests
                pod.there.machine.run(["rm", "-rf", f"{VOLUME}/berth"], timeout_s=300)
            pod.remove()


def stack(pod: Pod, name: str, **engine: Any) -> dict[str, Any]:
    """A committed stack of the two-A40 pod, with what is not here replaced: its cards, its model's weights.

    `engine` is the engine that serves on a CPU instead.
    """
    content: dict[str, Any] = yaml.safe_load((ROOT / f"stacks/{name}.yaml").read_text())
    content["hosts"]["pod"] |= {"connection": pod.connection(), "gpus": []}
    llama = content["models"]["llama"]
    for cards in ("parallel", "environment"):
        llama.pop(cards, None)
    llama |= {
        "source": {"random": "tiny"},
        "engine": {"name": "vllm", "version": "0.32.0", "device": "cpu", **engine},
        "place": [{"host": "pod", "replicas": llama["place"][0].get("replicas", 1)}],
        "context": 512,
        "concurrency": 4,
        "kv_cache": "64 MiB",
        "args": {"enforce_eager": True},
    }
    content["gateway"]["keys"] = []
    return content


def ask(pod: Pod, outputs: dict[str, Any], model: str = "meta-llama/Llama-3.1-8B-Instruct") -> requests.Response:
    """One completion through the port that the pod exposes."""
    return requests.post(
        f"http://{pod.address}:8000/v1/completions",
        json={"model": model, "prompt": "안녕하세요", "max_tokens": 4},
        headers={"Authorization": f"Bearer {outputs['keys']['default']}"},
        timeout=60,
    )
