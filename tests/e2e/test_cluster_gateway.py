"""A gateway on a cluster with real KServe: made with two models, followed by no second change, gone without a rest."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from project import Project

from tests.cluster.cluster import Cluster
from tests.cluster.parts import plugin

# The objects themselves are taken by the API server in tests/kubernetes; this is their way through Pulumi.
pytestmark = [pytest.mark.pulumi, pytest.mark.cluster, pytest.mark.soak]

KEY = "sk-alice-0123456789abcdef0123456789abcdef"


@pytest.fixture
def stack(project: Project, cluster: Cluster, namespace: str) -> str:
    model = {
        "source": {"hub": "Qwen/Qwen2.5-3B-Instruct", "revision": "aa8e72537993ba99e69dfaafa59ed015b17504d1"},
        "engine": {"name": "vllm", "version": "0.11.0"},
        "place": [{"cluster": "lab"}],
        "context": 4096,
    }
    said = {
        "clusters": {"lab": {"namespace": namespace, "kubeconfig": "lab_kubeconfig", "gpus": [{"model": "a40"}]}},
        "models": {"qwen": model, "other": model},
        "gateway": {
            "host": "lab",
            "edge": {"host": "models.example.com", "tls_secret": "models-tls"},
            "keys": [{"name": "alice", "secret": "alice_key"}],
        },
    }
    project.write("lab", said)
    made = plugin()
    folder = Path(project.environment("lab")["PULUMI_HOME"]) / "plugins" / made.name
    folder.mkdir(parents=True)
    for file in made.iterdir():
        os.link(file, folder / file.name)
    project.init("lab")
    for name, value in {"lab_kubeconfig": cluster.kubeconfig.read_text(), "alice_key": KEY}.items():
        project.pulumi("lab", "config", "set", "--secret", name, value).ok()
    return "lab"


def test_a_gateway_on_a_cluster(project: Project, cluster: Cluster, namespace: str, stack: str) -> None:
    done = project.up(stack).ok()
    assert KEY not in done.output
    assert KEY not in project.state(stack)
    held = cluster.get(f"/api/v1/namespaces/{namespace}/secrets/lab-gateway")
    assert held is not None
    routes = json.loads(base64.b64decode(held["data"]["routes.json"]))
    assert KEY in json.dumps(routes)
    services = cluster.get(f"/api/v1/namespaces/{namespace}/services")
    assert services is not None
    assert {"lab-gateway", "qwen-engines", "other-engines"} <= {one["metadata"]["name"] for one in services["items"]}
    found = cluster.get(f"/api/v1/namespaces/{namespace}/endpoints/qwen-engines")
    assert found is not None
    assert len(found["subsets"][0]["addresses"]) == 1, "the name resolves to the one ready pod"
    project.unchanged(stack).ok()
    project.destroy(stack).ok()
    kinds = "inferenceservices,servingruntimes,deployments,services,configmaps,secrets,ingresses"
    left = cluster.kubectl("get", kinds, "--namespace", namespace, "--output", "name").stdout.split()
    assert left == ["configmap/kube-root-ca.crt"]
