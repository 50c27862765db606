"""A stack on a cluster with real KServe: up to models that answer, changes, drift, what cannot be; then nothing left.

The pods run no container: a stand-in at each pod's address answers with the names that its arguments say.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT, Project

from berth.kubernetes import objects, to_yaml
from berth.planner.planning import plan
from berth.spec import load
from components.cluster import marked
from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import ControlPlane
from tests.cluster.parts import plugin
from tests.ports import free_port

pytestmark = [pytest.mark.pulumi, pytest.mark.cluster]

GRANITE = "granite-7b-instruct"
CONNECTION = "aws-connection-my-storage"
_MANY = 30
_WIDE = {"berth.test/node": "wide"}
SECRETS = {"my_storage_id": "AKIATEST", "my_storage_key": "very secret"}


@pytest.fixture
def granite(project: Project, cluster: Cluster, namespace: str) -> dict[str, Any]:
    """The stack file of the example, in an empty namespace; its data connection is the stack's own."""
    said: dict[str, Any] = yaml.safe_load((ROOT / "stacks/openshift-ai.yaml").read_text())
    said["clusters"]["ocp"]["namespace"] = namespace
    said["clusters"]["ocp"]["connections"] = {
        CONNECTION: {"bucket": "models", "access_key": "my_storage_id", "secret_key": "my_storage_key"}
    }
    _storage(cluster, namespace)
    project.write("ocp", said)
    _init(project, "ocp", cluster.kubeconfig)
    return said


def _storage(cluster: Cluster, namespace: str) -> None:
    """What OpenShift AI's controller makes of data connections, which is not part of KServe."""
    known = {"type": "s3", "access_key_id": "AKIATEST", "secret_access_key": "very secret", "bucket": "models"}
    data = {CONNECTION: base64.b64encode(json.dumps(known).encode()).decode()}
    cluster.create(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "storage-config"}, "data": data})


def _init(project: Project, stack: str, kubeconfig: Path) -> None:
    _plugin(project, stack)
    project.init(stack)
    for name, value in {"ocp_kubeconfig": kubeconfig.read_text(), **SECRETS}.items():
        project.pulumi(stack, "config", "set", "--secret", name, value).ok()


def _plugin(project: Project, stack: str) -> None:
    """What `berth up` does for a stack with clusters, without asking the network each time."""
    made = plugin()
    folder = Path(project.environment(stack)["PULUMI_HOME"]) / "plugins" / made.name
    folder.mkdir(parents=True)
    for file in made.iterdir():
        os.link(file, folder / file.name)


def _path(namespace: str, kind: str = "inferenceservices") -> str:
    return f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/{kind}/{GRANITE}"


def _changed(project: Project, stack: str) -> dict[str, list[str]]:
    """The changed paths of each resource in a preview, by its type."""
    with project.start(stack, "preview", "--json") as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    steps = json.loads(output[output.index("{") :])["steps"]
    return {
        step["urn"].split("::")[2].rpartition("$")[2]: sorted(step.get("detailedDiff") or ())
        for step in steps
        if step["op"] not in {"same", "read", "refresh"}
    }


def test_the_granite_example(
    project: Project,
    cluster: Cluster,
    namespace: str,
    granite: dict[str, Any],
) -> None:
    done = project.up("ocp").ok()
    status = (cluster.get(_path(namespace)) or {})["status"]
    assert {item["type"]: item["status"] for item in status["conditions"]}["Ready"] == "True"
    assert "very secret" not in project.state("ocp")
    assert "very secret" not in done.output
    project.unchanged("ocp").ok()

    granite["models"][GRANITE]["context"] = 2048
    project.write("ocp", granite)
    changed = _changed(project, "ocp")
    assert changed == {
        "kubernetes:serving.kserve.io/v1beta1:InferenceService": [
            'spec.predictor.annotations["dev.berth/specification"]',
            "spec.predictor.model.args[0]",
        ],
        "berth:kubernetes:Serving": ["generation", "specification"],
        "berth:serving:SmokeTest": ["after.generation", "after.specification", "pods.specification"],
    }
    project.up("ocp").ok()
    (pod,) = cluster.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    assert "--max-model-len=2048" in pod["spec"]["containers"][0]["args"]

    _drifts(project, cluster, namespace)
    project.destroy("ocp").ok()
    kinds = "inferenceservices,servingruntimes,deployments,services,pods,horizontalpodautoscalers,ingresses"
    assert cluster.kubectl("get", kinds, "--namespace", namespace, "--output", "name").stdout == ""
    left = cluster.kubectl("get", "secrets", "--namespace", namespace, "--output", "name").stdout.split()
    assert left == ["secret/storage-config"]


def _drifts(project: Project, cluster: Cluster, namespace: str) -> None:
    """What somebody changed by hand shows, and is put back."""
    edit = [{"op": "replace", "path": "/spec/predictor/model/args/0", "value": "--max-model-len=64"}]
    edited = cluster.send("PATCH", _path(namespace), edit, **{"Content-Type": "application/json-patch+json"})
    assert edited.ok, edited.text
    secret = f"/api/v1/namespaces/{namespace}/secrets/{CONNECTION}"
    assert cluster.send("DELETE", secret, {}).ok
    changed = _changed(project, "ocp")
    assert "spec.predictor.model.args[0]" in changed["kubernetes:serving.kserve.io/v1beta1:InferenceService"]
    assert "kubernetes:core/v1:Secret" in changed
    project.up("ocp").ok()
    held = (cluster.get(secret) or {})["data"]
    assert base64.b64decode(held["AWS_SECRET_ACCESS_KEY"]) == b"very secret"
    service = cluster.get(_path(namespace)) or {}
    assert service["spec"]["predictor"]["model"]["args"] == ["--max-model-len=2048"]
    project.unchanged("ocp").ok()


def test_a_change_completes_where_there_is_one_card(
    project: Project,
    cluster: Cluster,
    namespace: str,
    granite: dict[str, Any],
) -> None:
    cluster.node("lonely", gpus=1, labels={"berth.test/node": "lonely"})
    granite["clusters"]["ocp"]["gpus"] = [
        {"model": "a100-40", "count": 1, "nodes": {"berth.test/node": "lonely"}},
    ]
    project.write("ocp", granite)
    project.up("ocp").ok()
    granite["models"][GRANITE]["context"] = 2048
    project.write("ocp", granite)
    project.up("ocp").ok()
    (pod,) = cluster.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    assert pod["spec"]["nodeName"] == "lonely"
    assert "--max-model-len=2048" in pod["spec"]["containers"][0]["args"]
    project.destroy("ocp").ok()


def test_what_cannot_be_is_said_at_preview(project: Project, namespace: str, granite: dict[str, Any]) -> None:
    del granite["clusters"]["ocp"]["connections"]
    granite["clusters"]["ocp"]["gpus"] = [{"model": "a100-40"}]
    granite["models"][GRANITE]["place"] = [{"cluster": "ocp", "replicas": 40, "runtime": "vllm-runtime"}]
    project.write("ocp", granite)
    done = project.pulumi("ocp", "preview")
    assert done.status != 0
    for line in (
        f"models.{GRANITE}.place.runtime: vllm-runtime is no runtime of namespace {namespace} or the cluster",
        f"models.{GRANITE}.source.connection: secret {CONNECTION} is not in namespace {namespace}, must be",
        "of 40 replicas find 1 nvidia.com/gpu on one node, 0 are left; park or remove another model",
    ):
        assert line in done.output, done.output
    assert "Traceback" not in done.output


def test_a_cluster_without_kserve_and_one_that_is_away(
    project: Project,
    control_plane: ControlPlane,
    granite: dict[str, Any],
) -> None:
    control_plane.create("/api/v1/namespaces", {"metadata": {"name": granite["clusters"]["ocp"]["namespace"]}})
    project.pulumi("ocp", "config", "set", "--secret", "ocp_kubeconfig", control_plane.kubeconfig.read_text()).ok()
    done = project.pulumi("ocp", "preview")
    assert done.status != 0
    assert "clusters.ocp: the cluster has no InferenceService (serving.kserve.io/v1beta1), must have it" in done.output
    away = control_plane.kubeconfig.read_text().replace(control_plane.url, f"https://127.0.0.1:{free_port()}")
    project.pulumi("ocp", "config", "set", "--secret", "ocp_kubeconfig", away).ok()
    preview = project.pulumi("ocp", "preview").ok()
    assert "clusters.ocp: not reached (" in preview.output
    assert "previewed without looking at what is there" in preview.output
    done = project.up("ocp")
    assert done.status != 0
    assert "Connection refused); make it reachable, or correct kubeconfig or context" in done.output
    assert "Traceback" not in done.output


@pytest.mark.soak
def test_openshift_ai_with_a_gateway_behind_a_route(
    project: Project, cluster: Cluster, namespace: str, granite: dict[str, Any]
) -> None:
    """Made by OpenShift's own definition of a Route; who admits it, its router, is not here."""
    granite["clusters"]["ocp"]["expose"] = True
    granite["gateway"] = {"host": "ocp", "edge": {}, "keys": [{"name": "alice", "secret": "alice_key"}]}
    project.write("ocp", granite)
    project.pulumi("ocp", "config", "set", "--secret", "alice_key", "sk-alice-0123456789abcdef0123456789").ok()
    project.up("ocp").ok()
    (route,) = (cluster.get(f"/apis/route.openshift.io/v1/namespaces/{namespace}/routes") or {})["items"]
    assert route["spec"]["to"] == {"kind": "Service", "name": "ocp-gateway", "weight": 100}
    assert route["metadata"]["annotations"]["haproxy.router.openshift.io/timeout"] == "3600s"
    service = cluster.get(_path(namespace)) or {}
    assert service["metadata"]["labels"]["networking.kserve.io/visibility"] == "exposed"
    assert service["metadata"]["annotations"]["haproxy.router.openshift.io/timeout"] == "3600s"
    project.unchanged("ocp").ok()
    project.destroy("ocp").ok()
    kinds = "inferenceservices,servingruntimes,deployments,services,routes,configmaps,serviceaccounts"
    left = cluster.kubectl("get", kinds, "--namespace", namespace, "--output", "name").stdout.split()
    assert left == ["configmap/kube-root-ca.crt", "serviceaccount/default"]


@pytest.mark.soak
def test_a_preview_of_thirty_models(
    project: Project, cluster: Cluster, granite: dict[str, Any], tmp_path: Path
) -> None:
    cluster.node("wide", gpus=_MANY, labels=_WIDE)
    (model,) = granite["models"].values()
    granite["instances"]["granite"] |= {"cpu": 0.1, "memory": "1 GiB"}
    granite["models"] = {f"granite-{number}": copy.deepcopy(model) for number in range(_MANY)}
    granite["clusters"]["ocp"]["gpus"] = [{"model": "a100-40", "count": _MANY, "nodes": _WIDE}]
    del granite["clusters"]["ocp"]["connections"]
    connection = {"metadata": {"name": model["source"]["connection"]}}
    cluster.create(f"/api/v1/namespaces/{granite['clusters']['ocp']['namespace']}/secrets", connection)
    project.write("ocp", granite)
    project.up("ocp").ok()
    preview_s = min(_seconds(lambda: project.unchanged("ocp").ok()) for _ in range(3))

    decided = plan(load(project.root / "stacks/ocp.yaml"), "ocp")
    file = tmp_path / "objects.yaml"
    file.write_text(to_yaml(marked(objects(decided, "ocp"))))
    assert len(list(yaml.safe_load_all(file.read_text()))) == 2 * _MANY

    def diff() -> None:
        done = cluster.kubectl("diff", "--server-side", "--filename", str(file))
        assert done.returncode in {0, 1}, done.stderr  # 1: something differs, such as who owns a field

    diff_s = min(_seconds(diff) for _ in range(3))
    print(f"a preview of {_MANY} models: {preview_s:.1f} s; kubectl diff of the same objects: {diff_s:.1f} s")  # noqa: T201 -- what was measured
    assert preview_s < max(15, 2 * diff_s)
    project.destroy("ocp").ok()


def _seconds(what: Callable[[], object]) -> float:
    begin = time.monotonic()
    what()
    return time.monotonic() - begin
