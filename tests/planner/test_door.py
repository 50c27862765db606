"""What a stack file says of its gateway, as the plan has it: rights, limits, prefixes, encryption."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from berth.planner.plan import KeyPlan, Plan, TlsPlan
from berth.planner.planning import plan
from berth.spec import SpecError, loads

MODEL = {"source": {"random": "tiny"}, "engine": {"name": "vllm", "device": "cpu"}, "place": [{"host": "here"}]}


CLUSTER = {"source": {"hub": "a/b", "revision": "0" * 40}, "engine": {"name": "vllm"}, "place": [{"cluster": "lab"}]}


def planned(gateway: dict[str, Any], **prefixes: str) -> Plan:
    models = {name: {**MODEL, "aliases": [f"org/{name}"]} for name in ("one", "two")}
    for name, prefix in prefixes.items():
        models[name]["path_prefix"] = prefix
    host = {"connection": "local", "runtime": "process"}
    content = {"hosts": {"here": host}, "models": models, "gateway": {"host": "here", **gateway}}
    return plan(loads(yaml.safe_dump(content)), "test")


def refused(gateway: dict[str, Any], **prefixes: str) -> list[str]:
    return [str(note) for note in planned(gateway, **prefixes).refusals]


def test_a_client_has_the_models_that_any_of_their_names_stands_for():
    keys = [{"name": "alice", "secret": "a", "models": ["org/two"]}, {"name": "bob", "secret": "b"}]
    gateway = planned({"keys": keys}).gateway
    assert gateway is not None
    assert [key.models for key in gateway.keys] == [("two",), ()]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ([{"name": "alice", "secret": "a"}, {"name": "bob", "secret": "b", "models": ["one"]}], ["alice", "bob"]),
        ([{"name": "bob", "secret": "b", "models": ["one"]}], ["bob", "proof"]),
        ([{"name": "proof", "secret": "b", "limits": {"concurrent": 1}}], ["proof", "berth-proof"]),
    ],
)
def test_the_proof_has_a_key_that_may_ask_everything(keys: list[dict[str, Any]], names: list[str]):
    gateway = planned({"keys": keys}).gateway
    assert gateway is not None
    assert [key.name for key in gateway.keys] == names
    assert any(key.free for key in gateway.keys)


def test_what_a_key_says_of_limits_comes_before_the_gateways():
    keys = [{"name": "alice", "secret": "a", "limits": {"concurrent": 2}}, {"name": "bob", "secret": "b"}]
    gateway = planned({"keys": keys, "limits": {"concurrent": 8, "requests_per_minute": 60}}).gateway
    assert gateway is not None
    assert gateway.keys == (
        KeyPlan(name="alice", secret="a", concurrent=2, requests_per_minute=60),
        KeyPlan(name="bob", secret="b", concurrent=8, requests_per_minute=60),
        KeyPlan(name="proof"),
    )


def test_the_generated_key_has_the_gateways_limits():
    gateway = planned({"limits": {"concurrent": 3}}).gateway
    assert gateway is not None
    assert gateway.keys == (KeyPlan(name="default", concurrent=3), KeyPlan(name="proof"))


def test_tokens_a_minute_are_said_to_be_missing():
    found = planned({"limits": {"tokens_per_minute": 1000}}).unbuilt
    assert any("gateway.limits.tokens_per_minute" in line for line in found)


@pytest.mark.parametrize(
    ("gateway", "refusals"),
    [
        ({"bind": "127.0.0.1"}, 0),
        ({"bind": "0.0.0.0", "tls": {"self_signed": True}}, 0),
        ({"bind": "0.0.0.0", "plain": True}, 0),
        ({"bind": "0.0.0.0", "url": "https://models.example"}, 0),
        ({"bind": "0.0.0.0", "url": "http://models.example"}, 1),
        ({"bind": "0.0.0.0"}, 1),
    ],
)
def test_others_than_the_host_itself_are_served_unencrypted_only_on_purpose(gateway: dict[str, Any], refusals: int):
    found = refused(gateway)
    assert len(found) == refusals
    assert all(line.startswith("gateway.bind: is 0.0.0.0 without tls, must be 127.0.0.1") for line in found)


def test_a_self_signed_certificate_is_for_the_names_that_clients_use():
    gateway = planned({"tls": {"self_signed": True, "names": ["models.example"]}, "bind": "10.0.0.5"}).gateway
    assert gateway is not None
    assert gateway.tls == TlsPlan(names=("models.example", "10.0.0.5", "localhost", "127.0.0.1"))


@pytest.mark.parametrize(
    ("prefixes", "said"),
    [
        ({"one": "/one/", "two": "/two/"}, []),
        (
            {"one": "/v1/"},
            ["models.one.path_prefix: is /v1/, which is the gateway's own; choose another, such as /one/"],
        ),
        ({"one": "/m/x/"}, ["models.one.path_prefix: is /m/x/, which is"]),
        ({"one": "/a/", "two": "/a/b/"}, ["models.two.path_prefix: is /a/b/, must not overlap with /a/ of one;"]),
    ],
)
def test_a_path_prefix_takes_nothing_from_others(prefixes: dict[str, str], said: list[str]):
    found = refused({}, **prefixes)
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


@pytest.mark.parametrize(
    ("gateway", "where"),
    [
        ({"tls": {}}, "gateway.tls"),
        ({"tls": {"certificate": "/c.pem"}}, "gateway.tls"),
        ({"tls": {"certificate": "/c.pem", "key": "/k.pem", "self_signed": True}}, "gateway.tls.self_signed"),
        ({"tls": {"certificate": "/c.pem", "key": "/k.pem", "names": ["x"]}}, "gateway.tls.names"),
        ({"tls": {"self_signed": True}, "plain": True}, "gateway.plain"),
        ({"open": True, "limits": {"concurrent": 1}}, "gateway.limits"),
    ],
)
def test_what_contradicts_itself_is_a_mistake_at_its_place(gateway: dict[str, Any], where: str):
    with pytest.raises(SpecError) as caught:
        planned(gateway)
    assert [problem.where for problem in caught.value.problems] == [where]


@pytest.mark.parametrize("gateway", [{}, {"gateway": {"host": "lab"}}])
def test_a_model_on_a_cluster_is_proved_with_and_without_a_gateway(gateway: dict[str, Any]):
    model = {**CLUSTER, "prove": {"smoke": ["Hello"], "load": {"n": 4}}}
    content = {"clusters": {"lab": {"namespace": "llm"}}, "models": {"one": model}, **gateway}
    found = plan(loads(yaml.safe_dump(content)), "test")
    assert ([one.prompts for one in found.smoke], [one.n for one in found.load]) == ([("Hello",)], [4])
    assert found.unbuilt == ()


def test_who_may_not_ask_everything_leaves_the_proof_a_key_of_its_own_on_a_cluster_too():
    keys = [{"name": "alice", "secret": "alice_key", "limits": {"concurrent": 1}}]
    content = {
        "clusters": {"lab": {"namespace": "llm"}},
        "models": {"one": CLUSTER},
        "gateway": {"host": "lab", "keys": keys},
    }
    door = plan(loads(yaml.safe_dump(content)), "test").gateway
    assert door is not None
    assert [(key.name, key.secret) for key in door.keys] == [("alice", "alice_key"), ("proof", None)]
