"""What Berth says where KServe's own default would not do, each seen in the objects of small stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.kubernetes import Object, filled, objects, problems, secret_names, to_yaml
from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import load

QWEN = "Qwen/Qwen2.5-3B-Instruct"
HUB = {"hub": QWEN, "revision": "aa8e72537993ba99e69dfaafa59ed015b17504d1"}


@pytest.fixture
def planned(tmp_path: Path) -> Any:
    def make(cluster: dict[str, Any] | None = None, **model: Any) -> Plan:
        place = {"cluster": "lab", **model.pop("on", {})}
        said = {
            "clusters": {"lab": {"namespace": "llm", "gpus": [{"model": "a40", "count": 1}], **(cluster or {})}},
            "models": {
                "qwen": {
                    "source": HUB,
                    "engine": {"name": "vllm", "version": "0.11.0"},
                    "context": 4096,
                    "place": [place],
                    **model,
                }
            },
        }
        file = tmp_path / "lab.yaml"
        file.write_text(yaml.safe_dump(said))
        decided = plan(load(file), "lab")
        assert decided.refusals == ()
        return decided

    return make


def of(decided: Plan, kind: str, version: str | None = None) -> Object:
    (found,) = (one for one in objects(decided, "lab", version) if one["kind"] == kind)
    return found


def predictor(decided: Plan) -> Any:
    return of(decided, "InferenceService")["spec"]["predictor"]


@pytest.mark.parametrize(("version", "mode"), [("0.15", "RawDeployment"), ("0.16", "Standard"), ("0.20.0", "Standard")])
def test_the_mode_is_called_as_the_release_calls_it(planned: Any, version: str, mode: str):
    notes = of(planned(), "InferenceService", version)["metadata"]["annotations"]
    assert notes["serving.kserve.io/deploymentMode"] == mode


def test_a_service_has_as_many_replicas_as_said_and_no_autoscaler(planned: Any):
    decided = planned({"gpus": [{"model": "a40", "count": 4}]}, on={"replicas": 3})
    found = of(decided, "InferenceService")
    assert found["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none"
    assert [found["spec"]["predictor"][key] for key in ("minReplicas", "maxReplicas")] == [3, 3]


@pytest.mark.parametrize(
    ("count", "replicas", "strategy"),
    [
        (1, 1, {"type": "Recreate"}),
        (None, 1, {"type": "Recreate"}),
        (2, 2, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        (2, 1, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
    ],
)
def test_pods_are_replaced_as_the_cards_allow(planned: Any, count: int | None, replicas: int, strategy: Any):
    gpus = {"model": "a40", **({"count": count} if count is not None else {})}
    assert predictor(planned({"gpus": [gpus]}, on={"replicas": replicas}))["deploymentStrategy"] == strategy


@pytest.mark.parametrize(
    ("said", "count", "way"),
    [
        ("auto", 2, "surge"),
        ("auto", 1, "hold"),
        ("auto", None, "hold"),
        ("surge", 2, "surge"),
        ("surge", None, "surge"),
        ("hold", 2, "hold"),
        ("hold", 1, "hold"),
        ("refuse", 2, "surge"),
    ],
)
def test_the_way_that_the_stack_file_says_is_the_one_that_kserve_is_told(
    planned: Any, said: str, count: int | None, way: str
):
    """What is refused is in refusals.yaml."""
    gpus = {"model": "a40", **({"count": count} if count is not None else {})}
    decided = planned({"gpus": [gpus]}, on_change=said)
    assert [one.on_change for one in decided.replicas] == [way]
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert predictor(decided)["deploymentStrategy"] == (surge if way == "surge" else {"type": "Recreate"})


def test_an_engine_without_cards_has_room_beside_itself(planned: Any):
    engine = {"name": "vllm", "version": "0.11.0", "device": "cpu", "image": "registry.example/vllm-cpu:v0.11.0"}
    assert planned(engine=engine, on_change="refuse").replicas[0].on_change == "surge"


def test_cards_are_asked_for_alike_and_engines_get_more_than_kserve_gives(planned: Any):
    asked = predictor(planned())["model"]["resources"]
    assert asked["requests"]["nvidia.com/gpu"] == asked["limits"]["nvidia.com/gpu"] == "1"
    assert asked["limits"]["memory"] == "24Gi"  # KServe: 2Gi


def test_several_cards_have_shared_memory_that_their_limit_knows_of(planned: Any):
    found = predictor(planned({"gpus": [{"model": "a40", "count": 2}]}, on={"gpus": 2}))
    assert found["volumes"] == [{"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}]
    assert found["model"]["volumeMounts"] == [{"name": "shared-memory", "mountPath": "/dev/shm"}]
    assert found["model"]["resources"]["limits"]["memory"] == "26Gi"
    assert "volumes" not in predictor(planned())


@pytest.mark.parametrize(
    ("model", "gpus", "failures"),
    [(QWEN, 1, 60), ("meta-llama/Llama-3.1-70B-Instruct", 4, 172)],  # 600 s said by default; 141 GB at 100 MB/s
)
def test_a_start_may_take_as_long_as_the_weights_ask(planned: Any, model: str, gpus: int, failures: int):
    source = {"pvc": "weights/x", "shape": model}
    decided = planned({"gpus": [{"model": "a100-80", "count": 4}]}, source=source, on={"gpus": gpus})
    probe = predictor(decided)["model"]["startupProbe"]
    assert probe["httpGet"]["path"] == "/health"
    assert abs(probe["failureThreshold"] - failures) <= 2
    assert probe["periodSeconds"] == 10


def test_the_hub_token_reaches_the_download_and_the_engine(planned: Any):
    decided = planned(source={**HUB, "token": "hf_token"})
    secret = of(decided, "Secret")
    assert secret["stringData"] == {"HF_TOKEN": "${secret:hf_token}"}
    assert of(decided, "ServiceAccount")["secrets"] == [{"name": secret["metadata"]["name"]}]
    found = predictor(decided)
    assert found["serviceAccountName"] == of(decided, "ServiceAccount")["metadata"]["name"]
    assert found["model"]["env"] == [
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "qwen-hub", "key": "HF_TOKEN"}}}
    ]
    assert found["model"]["storageUri"] == f"hf://{QWEN}:{HUB['revision']}"


def test_no_value_of_a_secret_is_rendered_and_all_are_filled_in(planned: Any):
    decided = planned(source={**HUB, "token": "hf_token"}, secrets={"SALT": "salt"})
    made = objects(decided, "lab")
    assert {name for one in made for name in secret_names(one)} == {"hf_token", "salt"}
    values = {"hf_token": "hf_1", "salt": 'a"b'}
    text = to_yaml([filled(one, values) for one in made])
    assert "hf_1" in text
    assert "${secret:" not in text


def test_an_engine_keeps_connections_longer_than_the_proxy_and_sees_the_cards_that_it_is_given(planned: Any):
    variables = {one["name"]: one["value"] for one in of(planned(), "ServingRuntime")["spec"]["containers"][0]["env"]}
    assert variables["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"] == "120"  # uvicorn: 5 s
    assert "CUDA_VISIBLE_DEVICES" not in variables


def test_an_image_is_taken_by_its_digest(planned: Any):
    image = f"quay.io/modh/vllm@sha256:{'8' * 64}"
    decided = planned(engine={"name": "vllm", "version": "0.11.0", "image": image})
    assert of(decided, "ServingRuntime")["spec"]["containers"][0]["image"] == image


def test_a_slice_of_a_card_is_asked_for_by_its_name_and_told_to_kserve(planned: Any):
    gpus = [{"model": "a100-40", "count": 1, "resource": "nvidia.com/mig-7g.40gb", "nodes": {"pool": "a100"}}]
    decided = planned({"gpus": gpus, "runtime_class": "nvidia"})
    found = of(decided, "InferenceService")
    assert found["metadata"]["annotations"]["serving.kserve.io/gpu-resource-types"] == '["nvidia.com/mig-7g.40gb"]'
    assert found["spec"]["predictor"]["nodeSelector"] == {"pool": "a100"}
    assert found["spec"]["predictor"]["runtimeClassName"] == "nvidia"
    assert found["spec"]["predictor"]["model"]["resources"]["limits"]["nvidia.com/mig-7g.40gb"] == "1"


def test_a_model_is_seen_outside_only_when_it_is_exposed(planned: Any):
    label = "networking.kserve.io/visibility"
    assert of(planned(), "InferenceService")["metadata"]["labels"][label] == "cluster-local"
    assert label not in of(planned({"expose": True}), "InferenceService")["metadata"]["labels"]
    shown = of(planned({"kind": "openshift-ai", "expose": True}), "InferenceService")["metadata"]
    assert shown["labels"][label] == "exposed"
    assert shown["annotations"]["haproxy.router.openshift.io/timeout"] == "3600s"  # the router: 30 s
    assert label not in of(planned({"kind": "openshift-ai"}), "InferenceService")["metadata"]["labels"]


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ({"oci": "quay.io/models/qwen:1", "shape": QWEN}, {"storageUri": "oci://quay.io/models/qwen:1"}),
        ({"pvc": "weights/qwen/", "shape": QWEN}, {"storageUri": "pvc://weights/qwen"}),
        ({"s3": "s3://bucket/qwen", "shape": QWEN}, {"storageUri": "s3://bucket/qwen"}),
    ],
)
def test_weights_come_from_wherever_they_are(planned: Any, source: Any, rendered: Any):
    assert predictor(planned(source=source))["model"].items() >= rendered.items()


def test_what_kserve_alone_knows_comes_over_what_berth_writes(planned: Any):
    decided = planned(on={"overlay": {"priorityClassName": "high", "model": {"readinessProbe": {"periodSeconds": 5}}}})
    found = predictor(decided)
    assert found["priorityClassName"] == "high"
    assert found["model"]["readinessProbe"]["periodSeconds"] == 5
    assert found["model"]["readinessProbe"]["failureThreshold"] == 2


def test_a_probe_of_an_overlay_asks_in_its_own_way_alone(planned: Any):
    asked = {"httpGet": {"path": "/health", "port": 8080}}
    decided = planned(on={"overlay": {"model": {"livenessProbe": asked}}})
    living = predictor(decided)["model"]["livenessProbe"]
    assert living == {**asked, "timeoutSeconds": 30, "periodSeconds": 20, "failureThreshold": 6}
    assert problems(objects(decided, "lab"), decided.clusters["lab"]) == ()


def test_an_overlay_may_hold_lists(planned: Any):
    decided = planned(on={"overlay": {"imagePullSecrets": [{"name": "registry"}]}})
    assert predictor(decided)["imagePullSecrets"] == [{"name": "registry"}]
    assert problems(objects(decided, "lab"), decided.clusters["lab"]) == ()
