"""A gateway on a cluster with real KServe: proved before it gets traffic and after, and gone without a rest."""

from __future__ import annotations

import base64
import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from project import Project

from tests.cluster.cluster import Cluster
from tests.cluster.doors import doors
from tests.cluster.parts import plugin
from tests.gateway.conftest import envoy

__all__ = ["envoy"]

pytestmark = [pytest.mark.pulumi, pytest.mark.cluster]

KEY = "sk-alice-0123456789abcdef0123456789abcdef"
MODEL = {
    "source": {"hub": "Qwen/Qwen2.5-3B-Instruct", "revision": "aa8e72537993ba99e69dfaafa59ed015b17504d1"},
    "engine": {"name": "vllm", "version": "0.11.0"},
    "context": 4096,
}
PLACE = [{"cluster": "lab"}]


@pytest.fixture
def said(namespace: str) -> dict[str, Any]:
    """The stack file: two models, a client whose key is a secret of Pulumi's, and one whose key is generated."""
    return {
        "clusters": {"lab": {"namespace": namespace, "kubeconfig": "lab_kubeconfig", "gpus": [{"model": "a40"}]}},
        "models": {
            "qwen": {**MODEL, "place": PLACE, "prove": {"load": {"n": 8, "c": 2, "max_tokens": 4}}},
            "other": {**MODEL, "place": PLACE},
        },
        "gateway": {
            "host": "lab",
            "edge": {"host": "models.example.com", "tls_secret": "models-tls"},
            "keys": [{"name": "alice", "secret": "alice_key", "models": ["qwen"]}],
        },
    }


@pytest.fixture
def stack(project: Project, cluster: Cluster, envoy: str, said: dict[str, Any]) -> Iterator[str]:
    project.write("lab", said)
    made = plugin()
    folder = Path(project.environment("lab")["PULUMI_HOME"]) / "plugins" / made.name
    folder.mkdir(parents=True)
    for file in made.iterdir():
        os.link(file, folder / file.name)
    project.init("lab")
    for name, value in {"lab_kubeconfig": cluster.kubeconfig.read_text(), "alice_key": KEY}.items():
        project.pulumi("lab", "config", "set", "--secret", name, value).ok()
    with doors(cluster, envoy):
        yield "lab"


def test_a_gateway_on_a_cluster(
    project: Project, cluster: Cluster, namespace: str, stack: str, said: dict[str, Any]
) -> None:
    done = project.up(stack).ok()
    outputs = project.outputs(stack)
    assert outputs["url"] == "https://models.example.com/v1"
    assert outputs["in_cluster_url"] == f"http://lab-gateway.{namespace}.svc:8000/v1"
    assert outputs["port_forward"] == f"kubectl port-forward --namespace {namespace} service/lab-gateway 8000:8000"
    assert outputs["revisions"]["qwen"] == {"main": {"percent": 100, "state": "online", "representative": True}}
    assert {name: one["completion_tokens"] for name, one in outputs["smoke"].items()} == {"qwen": 16, "other": 16}
    assert outputs["load"]["qwen"]["answered"] == 8
    keys = outputs["keys"]
    assert keys["alice"] == KEY
    _keys_are_secret(project, cluster, namespace, done.output, keys)
    assert _models(cluster, namespace, keys["proof"]) == ["qwen", "other"]
    assert _models(cluster, namespace, KEY) == ["qwen"]
    project.unchanged(stack).ok()

    _what_fails_its_proof_gets_no_traffic(project, cluster, namespace, stack, said)

    project.destroy(stack).ok()
    kinds = "inferenceservices,servingruntimes,deployments,services,configmaps,secrets,ingresses"
    left = cluster.kubectl("get", kinds, "--namespace", namespace, "--output", "name").stdout.split()
    assert left == ["configmap/kube-root-ca.crt"]


def _keys_are_secret(project: Project, cluster: Cluster, namespace: str, output: str, keys: dict[str, str]) -> None:
    held = cluster.get(f"/api/v1/namespaces/{namespace}/secrets/lab-keys")
    assert held is not None
    assert {name: base64.b64decode(value).decode() for name, value in held["data"].items()} == keys
    routes = cluster.get(f"/api/v1/namespaces/{namespace}/secrets/lab-gateway")
    assert routes is not None
    known = base64.b64decode(routes["data"]["routes.json"]).decode()
    config = json.dumps(cluster.get(f"/api/v1/namespaces/{namespace}/configmaps"))
    diff = project.pulumi("lab", "preview", "--diff").ok().output
    for key in keys.values():
        encoded = base64.b64encode(key.encode()).decode()
        assert key in known
        for place in (output, diff, project.state("lab"), config):
            assert key not in place
            assert encoded not in place


def _what_fails_its_proof_gets_no_traffic(
    project: Project, cluster: Cluster, namespace: str, stack: str, said: dict[str, Any]
) -> None:
    """A revision whose pods answer no prompt: the routes stay as they are, and the update says why."""
    changed = copy.deepcopy(said)
    broken = {"place": PLACE, "environment": {"STANDIN_BROKEN": "1"}}
    del changed["models"]["qwen"]["place"]
    changed["models"]["qwen"] |= {
        "revisions": {"main": {"place": PLACE}, "next": broken},
        "traffic": {"main": 50, "next": 50},
    }
    project.write(stack, changed)
    before = _configuration(cluster, namespace)
    done = project.up(stack)
    assert done.status != 0
    assert "smoke test of qwen in pod qwen-next-predictor-" in done.output
    assert "POST /v1/completions answered 500: " in done.output
    assert "Traceback" not in done.output
    assert _configuration(cluster, namespace) == before

    changed["models"]["qwen"]["revisions"]["next"] = {"place": PLACE, "environment": {"STANDIN_BROKEN": "0"}}
    project.write(stack, changed)
    project.up(stack).ok()
    assert _configuration(cluster, namespace) != before
    outputs = project.outputs(stack)
    assert {name: one["answered"] for name, one in outputs["load"].items()} == {"qwen@main": 8, "qwen@next": 8}
    assert outputs["revisions"]["qwen"]["next"]["percent"] == 50


def _configuration(cluster: Cluster, namespace: str) -> Any:
    """What the gateway has of routes and engines."""
    kinds = ("secrets", "configmaps")
    found = [cluster.get(f"/api/v1/namespaces/{namespace}/{kind}/lab-gateway") for kind in kinds]
    return [one["data"] for one in found if one is not None]


def _models(cluster: Cluster, namespace: str, key: str) -> list[str]:
    """What a client inside the cluster sees."""
    listed = cluster.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app.kubernetes.io/name=lab-gateway")
    assert listed is not None
    (pod,) = listed["items"]
    headers = {"Authorization": f"Bearer {key}"}
    answer = requests.get(f"http://{pod['status']['podIP']}:8000/v1/models", headers=headers, timeout=10)
    assert answer.ok, answer.text
    return [model["id"] for model in answer.json()["data"]]
