"""What a stack registers for a cluster: its objects as they are, in their order, and a proof of each service."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pulumi
import pytest
import yaml

from berth.kubernetes import objects
from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import loads
from components.cluster import ClusterServing, marked
from tests.components.recording import Registered, everything_before, registered

_GRANITE = yaml.safe_load((Path(__file__).parents[2] / "stacks/openshift-ai.yaml").read_text())
_NAME = "granite-7b-instruct"
_KUBECONFIG = "kubeconfig of tests"


def planned(context: int = 4096) -> Plan:
    """The plan of the example with a data connection of its own."""
    said = json.loads(json.dumps(_GRANITE))
    said["clusters"]["ocp"]["create_namespace"] = True
    said["clusters"]["ocp"]["connections"] = {
        "aws-connection-my-storage": {"bucket": "models", "access_key": "its_id", "secret_key": "its_key"}
    }
    said["models"][_NAME]["context"] = context
    decided = plan(loads(yaml.safe_dump(said)), "ocp")
    assert decided.refusals == ()
    return decided


@pytest.fixture(scope="module")
def found() -> Iterator[Mapping[str, Registered]]:
    values = {"ocp_kubeconfig": _KUBECONFIG, "its_id": "AKIA", "its_key": "very secret"}
    pulumi.runtime.set_all_config({f"project:{name}": value for name, value in values.items()})
    decided = planned()
    yield registered(lambda: ClusterServing(decided, decided.clusters["ocp"], None))
    pulumi.runtime.set_all_config({})


def test_every_object_is_declared_with_its_own_keys(found: Mapping[str, Registered]) -> None:
    kinds = {one.kind for one in found.values()}
    assert kinds == {
        "berth:index:Cluster",
        "pulumi:providers:kubernetes",
        "kubernetes:core/v1:Namespace",
        "kubernetes:core/v1:Secret",
        "kubernetes:serving.kserve.io/v1alpha1:ServingRuntime",
        "kubernetes:serving.kserve.io/v1beta1:InferenceService",
        "berth:kubernetes:Serving",
        "berth:index:ServiceProof",
        "berth:serving:SmokeTest",
    }
    service = found[f"ocp-inferenceservice-{_NAME}"].inputs
    (wanted,) = (one for one in marked(objects(planned(), "ocp")) if one["kind"] == "InferenceService")
    assert service["spec"] == wanted["spec"]
    assert service["metadata"]["annotations"]["pulumi.com/patchFieldManager"] == "berth"


def test_a_service_waits_for_what_it_names_and_its_proof_for_it(found: Mapping[str, Registered]) -> None:
    needs = found[f"ocp-inferenceservice-{_NAME}"].needs
    assert {"ocp-namespace-models", f"ocp-servingruntime-{_NAME}", "ocp-secret-aws-connection-my-storage"} <= needs
    assert f"ocp-inferenceservice-{_NAME}" in everything_before(found, f"ocp-{_NAME}")


def test_secrets_are_data_whose_changes_are_seen(found: Mapping[str, Registered]) -> None:
    said = found["ocp-secret-aws-connection-my-storage"].inputs
    assert "stringData" not in said
    data = said["data"].get("value", said["data"])  # marked as secret
    assert base64.b64decode(data["AWS_SECRET_ACCESS_KEY"]) == b"very secret"


def test_the_mark_of_pods_changes_with_service_and_runtime_alone() -> None:
    def mark(decided: Plan) -> str:
        (service,) = (one for one in marked(objects(decided, "ocp")) if one["kind"] == "InferenceService")
        return str(service["spec"]["predictor"]["annotations"]["dev.berth/specification"])

    assert mark(planned()) == mark(planned())
    assert mark(planned()) != mark(planned(context=2048))


_MODEL = {"source": {"hub": "a/b", "revision": "0" * 40}, "engine": {"name": "vllm"}, "context": 4096}
_PLACE = [{"cluster": "lab"}]
_DOOR = {
    "clusters": {"lab": {"namespace": "llm", "kind": "openshift-ai", "gpus": [{"model": "a40"}]}},
    "models": {
        "one": {
            **_MODEL,
            "prove": {"load": {"n": 4}},
            "revisions": {"main": {"place": _PLACE}, "next": {"place": _PLACE}},
            "traffic": {"main": 100, "next": 0},
        },
        "idle": {
            **_MODEL,
            "revisions": {"main": {"place": _PLACE}, "off": {"place": _PLACE}},
            "traffic": {"main": 100, "off": 0},
            "idle": "parked",
        },
    },
    "gateway": {"host": "lab", "edge": {}, "keys": [{"name": "alice", "secret": "alice_key", "models": ["one"]}]},
}


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[Mapping[str, Registered], ClusterServing]]:
    pulumi.runtime.set_all_config({"project:alice_key": "sk-alice"})
    decided = plan(loads(yaml.safe_dump(_DOOR)), "s")
    assert decided.refusals == ()
    made: list[ClusterServing] = []
    yield registered(lambda: made.append(ClusterServing(decided, decided.clusters["lab"], None))), made[0]
    pulumi.runtime.set_all_config({})


Door = tuple[Mapping[str, Registered], ClusterServing]


def test_the_gateway_gets_nothing_before_all_that_may_get_requests_is_proved(door: Door) -> None:
    found, _ = door
    for name in ("lab-configmap-s-gateway", "lab-secret-s-gateway", "lab-deployment-s-gateway"):
        before = everything_before(found, name)
        assert {"lab-one-smoke", "lab-one-next-smoke", "lab-one-load", "lab-one-next-load", "lab-idle-smoke"} <= before
    assert {"lab-configmap-s-gateway", "lab-route-s-gateway"} <= everything_before(found, "lab-gateway-ready")
    assert "lab-gateway-ready" in everything_before(found, "smoke")


def test_what_is_parked_is_not_asked(door: Door) -> None:
    found, _ = door
    assert "lab-idle-off" in found
    assert "lab-idle-off-smoke" not in found


def test_pods_are_asked_by_their_mark_and_a_gateway_by_its_name(door: Door) -> None:
    found, _ = door
    mark = found["lab-one-next"].inputs["specification"]
    asked = found["lab-one-next-smoke"].inputs
    assert asked["pods"] == {
        "namespace": "llm",
        "labels": {"serving.kserve.io/inferenceservice": "one-next"},
        "specification": mark,
    }
    assert asked["prompts"] == {"one": ["Hello"]}
    assert found["smoke"].inputs["pods"]["labels"] == {"app.kubernetes.io/name": "s-gateway"}
    assert asked["after"]["specification"] == mark


def test_a_client_without_a_secret_has_a_generated_key(door: Door) -> None:
    """Here it is the proof's own, since alice may not ask everything."""
    found, _ = door
    assert found["key-proof"].kind == "berth:gateway:Key"
    assert "key-alice" not in found


@pytest.mark.parametrize("configured", [{"project:default": "sk-mine"}, {}])
def test_a_key_that_is_configured_by_its_clients_name_stays(configured: dict[str, str]) -> None:
    """So a key that the file does not name was found before it was generated; clients have it."""
    decided = plan(loads(yaml.safe_dump({**_DOOR, "gateway": {"host": "lab", "edge": {}}})), "s")
    assert decided.refusals == ()
    pulumi.runtime.set_all_config(configured)
    found = registered(lambda: ClusterServing(decided, decided.clusters["lab"], None))
    pulumi.runtime.set_all_config({})
    assert ("key-default" in found) is not bool(configured)
    if configured:
        held = found["lab-secret-s-keys"].inputs["data"]
        data = held.get("value", held)  # marked as secret
        assert base64.b64decode(data["default"]) == b"sk-mine"


def test_where_clients_find_it_is_known(door: Door) -> None:
    _, made = door
    assert made.gateway is not None
    outputs = made.gateway.outputs
    assert outputs["in_cluster_url"] == "http://s-gateway.llm.svc:8000/v1"
    assert outputs["port_forward"] == "kubectl port-forward --namespace llm service/s-gateway 8000:8000"
    assert sorted(outputs["models"]) == ["idle", "one"]
