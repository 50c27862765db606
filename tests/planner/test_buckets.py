"""Weights from a bucket on a host: whose keys open it, and what is said where nobody's do."""

from __future__ import annotations

from typing import Any

import yaml

from berth.planner.plan import DataConnectionPlan, Plan, S3Weights
from berth.planner.planning import plan
from berth.spec import loads

STORE = {"bucket": "weights", "endpoint": "http://10.0.0.9:9000", "access_key": "s3_id", "secret_key": "s3_key"}


def decided(source: dict[str, Any], **host: Any) -> Plan:
    model = {"source": source, "engine": {"name": "vllm", "version": "0.32.0"}, "place": [{"host": "box"}]}
    content = {
        "hosts": {"box": {"connection": "local", "gpus": [{"model": "a40"}], **host}},
        "models": {"granite": {**model, "context": 4096}},
        "gateway": {"host": "box"},
    }
    return plan(loads(yaml.safe_dump(content)), "x")


def test_a_host_has_connections_as_a_cluster_has() -> None:
    source = {"s3": "granite-7b", "connection": "store", "shape": "ibm-granite/granite-7b-instruct"}
    for runtime in ("process", "docker"):
        found = decided(source, connections={"store": STORE}, runtime=runtime)
        assert (found.refusals, found.unbuilt) == ((), ())
        assert found.replicas[0].weights == S3Weights(url="granite-7b", connection="store")
        assert found.hosts["box"].connections["store"] == DataConnectionPlan(region="us-east-1", **STORE)
        assert found.secrets >= {"s3_id", "s3_key"}
        assert found.replicas[0].memory is not None


def test_a_public_bucket_needs_none_and_a_forgotten_one_is_said() -> None:
    source = {"s3": "s3://weights/granite-7b", "shape": "ibm-granite/granite-7b-instruct"}
    assert not [note for note in decided(source).notes if "source" in note.where]
    (note,) = [note for note in decided(source, connections={"store": STORE}).notes if "connection" in note.where]
    assert str(note) == (
        "models.granite.source.connection: is not said, so that the bucket must be public; box has store"
    )


def test_each_host_of_a_model_needs_the_connection() -> None:
    content = {
        "hosts": {
            "box": {"connection": "local", "connections": {"store": STORE}},
            "box2": {"connection": {"ssh": {"host": "box2"}}},
        },
        "models": {
            "granite": {
                "source": {"s3": "granite-7b", "connection": "store"},
                "engine": {"name": "vllm", "version": "0.32.0", "device": "cpu"},
                "place": [{"host": "box"}, {"host": "box2", "replicas": 2}],
            }
        },
    }
    found = plan(loads(yaml.safe_dump(content)), "x")
    assert [str(note) for note in found.refusals if "connection" in note.where] == [
        "models.granite.source.connection: is store, must be one of hosts.box2.connections; known: none"
    ]


def test_a_name_that_is_nearly_one_is_named() -> None:
    found = decided({"s3": "granite-7b", "connection": "stor"}, connections={"store": STORE})
    assert [str(note) for note in found.refusals] == [
        "models.granite.source.connection: is stor, must be one of hosts.box.connections; did you mean store?"
    ]
