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
