"""The gateways of the comparison, each on the first core with one worker, all before the same upstream."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import programs

from berth import gateway
from berth.catalogue.units import Bytes
from berth.planner.plan import GatewayPlan, KeyPlan, ModelRoute, RevisionShare

KEY = "sk-benchmark-0123456789abcdef0123456789abcdef"
MODELS = ("tinyllama", "qwen", "yi")
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "qwen",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello! How can I help you today?"},
            "finish_reason": "stop",
        },
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
}
GATEWAY_CORE, OTHER_CORE = "0", "1"


@dataclass
class Contestant:
    """A running gateway: where a chat is posted, with which headers; and what was started for it."""

    name: str
    port: int
    path: str
    process: subprocess.Popen[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where chats are posted."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def stop(self) -> None:
        """Ends it and waits for that."""
        self.process.terminate()
        self.process.wait(20)


def pinned(core: str, argv: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Starts a program on one core."""
    with log.open("wb") as out:
        env = {**os.environ, **environment}
        return subprocess.Popen(["taskset", "-c", core, *argv], stdout=out, stderr=out, env=env)


def nginx(folder: Path, name: str, core: str, servers: str) -> subprocess.Popen[bytes]:
    """An nginx with one worker and these servers."""
    place = folder / name
    place.mkdir()
    text = f"""
daemon off; master_process off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; keepalive_requests 1000000;
  fastcgi_temp_path {place}/a; uwsgi_temp_path {place}/b; scgi_temp_path {place}/c; client_body_buffer_size 1m;
  {servers}
}}
"""
    (place / "nginx.conf").write_text(text)
    argv = [
        *programs.debian("nginx"),
        "-p",
        str(place),
        "-c",
        str(place / "nginx.conf"),
        "-e",
        str(place / "error.log"),
    ]
    return pinned(core, argv, folder / f"{name}.log")


def upstream(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Answers every request with one small chat completion."""
    servers = f"""server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;
      location / {{ return 200 '{json.dumps(ANSWER)}'; }} }}"""
    return nginx(folder, "upstream", OTHER_CORE, servers)


def bare_nginx(folder: Path, port: int, upstream_port: int) -> Contestant:
    """A path prefix, no keys, no log, nothing else."""
    servers = f"""upstream engine {{ server 127.0.0.1:{upstream_port}; keepalive 256; }}
      server {{ listen 127.0.0.1:{port} backlog=4096; location /qwen/ {{ proxy_pass http://engine/;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; client_max_body_size 32m; }} }}"""
    process = nginx(folder, f"nginx-{port}", GATEWAY_CORE, servers)
    return Contestant("nginx, path prefix, no keys", port, "/qwen/v1/chat/completions", process)


def plan(ports: tuple[int, int, int], *, everything: bool) -> GatewayPlan:
    """Three models with prefixes and five keys; with everything, each key has its own models and limits."""
    more: dict[str, Any] = {"requests_per_minute": 10**7, "concurrent": 10**5, "models": MODELS} if everything else {}
    return GatewayPlan(
        host="here",
        bind="127.0.0.1",
        port=ports[0],
        admin_port=ports[1],
        metrics_port=ports[2],
        open=False,
        keys=tuple(KeyPlan(name=name, **more) for name in ("alice", "bob", "carol", "dave", "eve")),
        models=tuple(
            ModelRoute(
                name=name,
                aliases=(f"org/{name}",),
                revisions=(RevisionShare(revision="main", percent=100, replicas=("r",), max_concurrency=25_000),),
                path_prefix=f"/{name}/",
            )
            for name in MODELS
        ),
        max_body=Bytes.from_mib(32),
        idle_timeout_s=300,
        hold_limit_s=120,
    )


def berth(
    folder: Path, ports: tuple[int, int, int], upstream_port: int, *, by_body: bool, everything: bool
) -> Contestant:
    """Berth's gateway as it writes it, with its access log."""
    place = folder / f"berth-{ports[0]}"
    (place / "endpoints").mkdir(parents=True)
    made = plan(ports, everything=everything)
    keys = {key.name: KEY if key.name == "alice" else f"{KEY}-{key.name}" for key in made.keys}
    files: dict[str, Any] = {
        "bootstrap.json": gateway.bootstrap(made, str(place)),
        "listeners.json": gateway.listeners(made, str(place)),
        "clusters.json": gateway.clusters(made, str(place)),
        "routes.json": gateway.with_keys(gateway.routes(made), keys),
        "status.json": gateway.status(made),
    }
    for model in MODELS:
        cluster = gateway.cluster_name(model, "main")
        engine = [("127.0.0.1", upstream_port)]
        files[gateway.endpoints_file(cluster)] = gateway.endpoints(cluster, engine, held=False)
    for name, content in files.items():
        (place / name).write_text(json.dumps(content))
    (place / "start.sh").write_text(gateway.START)
    argv = gateway.command(
        programs.envoy(), str(place), ports[1], access_log=str(place / "access.log"), concurrency=1, drain_s=1
    )
    process = pinned(GATEWAY_CORE, argv, folder / f"berth-{ports[0]}.log")
    path = "/v1/chat/completions" if by_body else "/qwen/v1/chat/completions"
    how = ("body" if by_body else "path prefix") + (", rights and limits" if everything else "")
    return Contestant(f"berth, keys, {how}", ports[0], path, process, {"Authorization": f"Bearer {KEY}"})


def litellm(folder: Path, port: int, upstream_port: int) -> Contestant:
    """LiteLLM's proxy with a key and the three models, one worker."""
    parameters = {"api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"}
    models = [{"model_name": name, "litellm_params": {"model": f"openai/{name}", **parameters}} for name in MODELS]
    config = {"model_list": models, "general_settings": {"master_key": KEY}, "litellm_settings": {"telemetry": False}}
    path = folder / "litellm.yaml"
    path.write_text(json.dumps(config))
    argv = [programs.litellm(), "--config", str(path), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    process = pinned(
        GATEWAY_CORE, argv, folder / "litellm.log", LITELLM_LOG="ERROR", LITELLM_LOCAL_MODEL_COST_MAP="True"
    )
    headers = {"Authorization": f"Bearer {KEY}"}
    return Contestant("LiteLLM proxy, key", port, "/v1/chat/completions", process, headers)
