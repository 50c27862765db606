"""What `docker compose up` would make of compose.yaml: for a real Docker, and as Docker would describe it."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("compose.yaml")
NGINX = FILE.with_name("nginx.conf")
FOLDER = "/home/ubuntu/llm"
DIGEST = "vllm/vllm-openai@sha256:" + "5a" * 32
COMMITS = {
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "fe8a4ea1ffedaf415f4da2f062534de366a451e6",
    "Qwen/Qwen2.5-3B-Instruct": "aa8e72537993ba99e69dfaafa59ed015b17504d1",
    "01-ai/Yi-6B-Chat": "2dbf63b0cb7bc493c0243502c6e6111a36e3a093",
}
ENTRYPOINTS = {"vllm": ("python3", "-m", "vllm.entrypoints.openai.api_server")}
"""That of the image of vLLM, by its repository."""

_IMAGES_OWN = ["PATH=/usr/bin", "CUDA_VERSION=12.8.1"]


def services() -> dict[str, Any]:
    """The services of the file."""
    return dict(yaml.safe_load(FILE.read_text())["services"])


def labels(name: str) -> dict[str, str]:
    """Those that compose gives a container."""
    return {
        "com.docker.compose.project": "llm",
        "com.docker.compose.service": name,
        "com.docker.compose.project.config_files": f"{FOLDER}/compose.yaml",
        "com.docker.compose.project.working_dir": FOLDER,
    }


def docker_run(name: str, said: Mapping[str, Any], home: str) -> list[str]:
    """The options of `docker run` that make the same, but for image, command and cards."""
    argv = ["--detach", "--name", said["container_name"], "--restart", said["restart"]]
    for key, value in labels(name).items():
        argv += ["--label", f"{key}={value}"]
    for port in said.get("ports", ()):
        argv += ["--publish", port]
    for variable, value in said.get("environment", {}).items():
        argv += ["--env", f"{variable}={value}"]
    for volume in said.get("volumes", ()):
        if volume.startswith("~"):
            argv += ["--volume", volume.replace("~", home, 1)]
    return argv


def stand_in_words(said: Mapping[str, Any]) -> list[str]:
    """Its command line for the stand-in engine, which knows no `--model`."""
    words = shlex.split(said["command"])
    place = words.index("--model")
    return ["serve", words[place + 1], *words[:place], *words[place + 2 :]]


def answer(home: str = "/home/ubuntu") -> str:
    """What the question for what runs would be answered, as far as containers go."""
    said = services()
    images = [[_image(one), [DIGEST] if "vllm" in one["image"] else [], _IMAGES_OWN] for one in said.values()]
    commits = [
        f"{commit} {home}/.cache/huggingface/hub/models--{repo.replace('/', '--')}/refs/main"
        for repo, commit in COMMITS.items()
    ]
    parts = {
        "containers": json.dumps([_inspected(name, one, home) for name, one in reversed(said.items())]),
        "images": "\n".join(map(json.dumps, images)),
        "processes": "",
        "proxies": base64.b64encode(NGINX.read_bytes()).decode(),
        "commits": "\n".join(commits),
        "end": "",
    }
    return "".join(f"\n\x1eberth {name}\n{text}\n" for name, text in parts.items())


def _image(said: Mapping[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(said["image"].encode()).hexdigest()


def _inspected(name: str, said: Mapping[str, Any], home: str) -> dict[str, Any]:
    words = [*ENTRYPOINTS.get(said["image"].partition("/")[0], (said["image"].partition(":")[0],))]
    words += shlex.split(said.get("command", ""))
    ports = [port.split(":") for port in said.get("ports", ())]
    volumes = [volume.replace("~", home, 1).split(":") for volume in said.get("volumes", ())]
    gpu = {"Driver": "nvidia", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": None}
    return {
        "Id": hashlib.sha256(name.encode()).hexdigest(),
        "Created": f"2026-01-02T03:00:0{[*services()].index(name)}Z",
        "Name": f"/{said['container_name']}",
        "Path": words[0],
        "Args": words[1:],
        "Image": _image(said),
        "Config": {
            "Image": said["image"],
            "Env": [*(f"{key}={value}" for key, value in said.get("environment", {}).items()), *_IMAGES_OWN],
            "Labels": labels(name),
        },
        "State": {"Running": True, "Pid": 1000 + len(name), "StartedAt": "2026-01-02T03:04:05Z"},
        "HostConfig": {
            "NetworkMode": "llm_default",
            "PortBindings": {f"{inside}/tcp": [{"HostIp": "", "HostPort": outside}] for outside, inside in ports},
            "RestartPolicy": {"Name": said["restart"]},
            "LogConfig": {"Type": "json-file", "Config": {}},
            "DeviceRequests": [gpu] if "deploy" in said else None,
            "Runtime": "runc",
        },
        "Mounts": [{"Type": "bind", "Source": source, "Destination": target} for source, target, *_ in volumes],
    }
