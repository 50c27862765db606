"""Models of buckets on a host: a resource of its own for each folder, and none without the connection that is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pulumi
import pytest
import yaml

from berth.planner.planning import plan
from berth.spec import loads
from components.host import HostBase
from components.inference_server import InferenceServer
from components.place import HostPlace
from tests.components.recording import Registered, registered


def made(monkeypatch: pytest.MonkeyPatch, *sources: tuple[str, str], known: bool = True) -> Mapping[str, Registered]:
    monkeypatch.setattr(pulumi.Config, "require_secret", lambda _, name: pulumi.Output.secret(name))
    stores = {
        name: {"bucket": "models", "endpoint": f"http://10.0.0.{number}:9000", "access_key": "id", "secret_key": "key"}
        for number, name in enumerate(("one", "two"), start=1)
    }
    engine = {"name": "vllm", "version": "0.32.0", "device": "cpu"}
    content = {
        "hosts": {"box": {"connection": "local", "connections": stores}},
        "models": {
            f"model{number}": {
                "source": {"s3": url, "connection": connection},
                "engine": engine,
                "place": [{"host": "box"}],
            }
            for number, (url, connection) in enumerate(sources)
        },
    }
    decided = plan(loads(yaml.safe_dump(content)), "x")
    assert decided.refusals == ()
    box = decided.hosts["box"]
    place = HostPlace(
        plan=box if known else replace(box, connections={}),
        stack="x",
        folder="/project",
        home="/home/me",
        workspace="/work/x",
        init="systemd",
        account="1000:1000",
    )

    def declare() -> None:
        host = HostBase("box", place)
        for one in decided.replicas:
            InferenceServer(one.name, one, host, None, parked=True)

    return registered(declare)


def test_folders_that_read_the_same_are_two_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(monkeypatch, ("a/x", "one"), ("a-x", "one"), ("a/x", "two"), ("a/x", "one"))
    models = {name: one.inputs["folder"] for name, one in found.items() if one.kind.endswith("BucketModel")}
    assert sorted(models.values()) == [
        "/home/me/.cache/berth/s3/10.0.0.1-9000/models/a-x",
        "/home/me/.cache/berth/s3/10.0.0.1-9000/models/a/x",
        "/home/me/.cache/berth/s3/10.0.0.2-9000/models/a/x",
    ]


@pytest.mark.parametrize("url", ["a/x", "s3://models/a/x"])
def test_a_named_connection_that_nobody_knows_is_no_public_bucket(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(
        pulumi.RunError, match=r"models\.model0\.source\.connection: is one, must be one of hosts\.box\."
    ):
        made(monkeypatch, (url, "one"), known=False)
