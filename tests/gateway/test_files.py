"""The content of the files, without Envoy: what changes with what, and what never does."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth import gateway
from berth.catalogue.units import Bytes
from berth.gateway.clusters import most_requests
from berth.gateway.routes import retries
from berth.planner.plan import GatewayPlan, KeyPlan, ModelRoute, RevisionShare

GOLDEN = Path(__file__).parent / "golden"
FOLDER = "/srv/berth/gateway"
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
ADDRESSES = st.tuples(st.ip_addresses(v=4).map(str), st.integers(2, 65535))


def share(revision: str, percent: int = 100, replicas: int = 1) -> RevisionShare:
    names = tuple(f"{revision}-{number}" for number in range(replicas))
    return RevisionShare(revision=revision, percent=percent, replicas=names, max_concurrency=24)


PLAN = GatewayPlan(
    host="box",
    bind="0.0.0.0",
    port=8000,
    admin_port=8001,
    metrics_port=8002,
    open=False,
    keys=(KeyPlan(name="alice"), KeyPlan(name="bob", secret="bob_key")),
    models=(
        ModelRoute(name="tiny", aliases=("gpt-x", "org/tiny:1.5"), revisions=(share("main"),), created=1700000000),
        ModelRoute(
            name="org/big.v1",
            aliases=(),
            revisions=(share("main", 90, replicas=2), share("next", 10), share("dark", 0)),
            max_model_len=2048,
        ),
    ),
    max_body=Bytes.from_mib(32),
    idle_timeout_s=900,
    hold_limit_s=300,
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bootstrap", gateway.bootstrap(PLAN, FOLDER)),
        ("listeners", gateway.listeners(PLAN, FOLDER)),
        ("clusters", gateway.clusters(PLAN, FOLDER)),
        ("routes", gateway.routes(PLAN)),
    ],
)
def test_the_files_of_a_plan_are_as_recorded(name: str, content: Any):
    """BERTH_WRITE_GOLDEN=1 records them anew; read the difference before you commit it."""
    path = GOLDEN / f"{name}.json"
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("BERTH_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"models": ()},
        {"keys": ()},
        {"open": True},
        {"idle_timeout_s": 1.5, "hold_limit_s": 0},
        {"max_body": Bytes.from_mib(1)},
        {"models": (replace(PLAN.models[0], aliases=("other",), revisions=(share("next"),)),)},
    ],
)
def test_the_listeners_depend_on_ports_alone(changes: dict[str, Any]):
    assert gateway.listeners(replace(PLAN, **changes), FOLDER) == gateway.listeners(PLAN, FOLDER)


def test_the_version_changes_with_the_content():
    more = replace(PLAN, models=(*PLAN.models, replace(PLAN.models[0], name="third")))
    for make in (gateway.routes, lambda plan: gateway.clusters(plan, FOLDER)):
        assert make(PLAN)["version_info"] == make(PLAN)["version_info"]
        assert make(PLAN)["version_info"] != make(more)["version_info"]


def test_no_value_of_a_key_is_needed_to_make_the_routes():
    assert '"key": "${key:alice}"' in json.dumps(gateway.routes(PLAN))


def test_a_plan_without_models_still_answers():
    empty = replace(PLAN, models=())
    assert gateway.clusters(empty, FOLDER)["resources"] == []
    assert "served: none" in json.dumps(gateway.routes(empty))


@settings(max_examples=20, deadline=None)  # the slow hash is slow on purpose
@given(st.dictionaries(NAMES, NAMES, min_size=1, max_size=4).filter(lambda keys: len({*keys.values()}) == len(keys)))
def test_keys_go_in_and_come_out_again(keys: dict[str, str]):
    plain = gateway.routes(replace(PLAN, keys=tuple(KeyPlan(name=name) for name in keys)))
    filled = gateway.with_keys(plain, keys)
    assert gateway.without_keys(filled) == (plain, keys)
    assert filled["version_info"] != plain["version_info"]


def test_another_value_of_a_key_is_another_version_that_does_not_show_it():
    first, second = ({"alice": value, "bob": "b"} for value in ("one", "two"))
    plain = gateway.routes(PLAN)
    versions = [gateway.with_keys(plain, keys)["version_info"] for keys in (first, second, first)]
    assert versions[0] == versions[2] != versions[1]
    assert versions[0].startswith(plain["version_info"])


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"alice": "a"}, KeyError, "bob"),
        ({"alice": "a", "bob": ""}, ValueError, "gateway.keys.bob: the key is empty; "),
        ({"alice": "a", "bob": "a"}, ValueError, "gateway.keys.bob: the same key as alice; "),
    ],
)
def test_keys_that_envoy_would_refuse_are_refused_here(keys: dict[str, str], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        gateway.with_keys(gateway.routes(PLAN), keys)


def test_open_routes_have_no_keys():
    plain = gateway.routes(replace(PLAN, open=True))
    assert gateway.with_keys(plain, {}) == plain
    assert gateway.without_keys(plain) == (plain, {})


@given(st.lists(ADDRESSES, unique=True, max_size=4), st.booleans())
def test_endpoints_can_be_read_back(addresses: list[tuple[str, int]], held: bool):
    file = gateway.endpoints("tiny@main", addresses, held=held)
    assert gateway.read_endpoints(file) == (tuple(addresses), held)
    names = {(False, False): "absent", (False, True): "held", (True, True): "releasing", (True, False): "serving"}
    assert gateway.state(file) == names[bool(addresses), held]


def test_a_hold_gives_the_dead_port_the_last_turn():
    releasing = gateway.endpoints("tiny@main", [("127.0.0.1", 9000)], held=True)["resources"][0]
    assert [group["priority"] for group in releasing["endpoints"]] == [0, 1]
    assert releasing["policy"]["overprovisioning_factor"] >= 100 * 1000


@pytest.mark.parametrize(
    ("cluster", "path"),
    [
        ("tiny@main", "endpoints/tiny@main.json"),
        ("org/big.v1:8b@next", "endpoints/org%2Fbig.v1:8b@next.json"),
        ("../../etc@main", "endpoints/..%2F..%2Fetc@main.json"),
    ],
)
def test_an_endpoints_file_lies_in_its_folder_whatever_the_model_is_called(cluster: str, path: str):
    assert gateway.endpoints_file(cluster) == path


def test_between_two_files_no_cluster_is_missing():
    have = gateway.clusters(PLAN, FOLDER)
    want = gateway.clusters(replace(PLAN, models=(replace(PLAN.models[0], name="new"), PLAN.models[1])), FOLDER)
    both = gateway.between(have, want)
    names = [cluster["name"] for cluster in both["resources"]]
    assert names == ["new@main", "org/big.v1@main", "org/big.v1@next", "org/big.v1@dark", "tiny@main"]
    assert gateway.between(want, want) == want


def test_only_clusters_with_a_second_replica_throw_one_out():
    clusters = {cluster["name"]: cluster for cluster in gateway.clusters(PLAN, FOLDER)["resources"]}
    assert [name for name, cluster in clusters.items() if "outlier_detection" in cluster] == ["org/big.v1@main"]


@pytest.mark.parametrize(("concurrency", "most"), [(1, 256), (64, 256), (65, 260), (256, 1024)])
def test_a_revision_takes_four_times_what_its_engines_work_on(concurrency: int, most: int):
    assert most_requests(concurrency) == most


@pytest.mark.parametrize(("limit_s", "count"), [(0, 1), (0.05, 2), (1, 6), (60, 124), (300, 604)])
def test_the_limit_of_a_hold_becomes_a_number_of_tries(limit_s: float, count: int):
    assert retries(limit_s) == count


def test_the_flat_file_has_no_key_and_no_file_to_read():
    routes = gateway.with_keys(gateway.routes(PLAN), {"alice": "secret-a", "bob": "secret-b"})
    flat = gateway.flat_bootstrap(
        gateway.bootstrap(PLAN, FOLDER), gateway.listeners(PLAN, FOLDER), routes, gateway.clusters(PLAN, FOLDER)
    )
    text = json.dumps(flat)
    assert "secret-" not in text
    assert "path_config_source" not in text


def test_the_command_line_is_complete():
    assert gateway.command("/e/envoy", FOLDER, 8001, concurrency=3) == [
        "bash", f"{FOLDER}/start.sh", FOLDER, "8001", "120", "-",
        "/e/envoy", "--config-path", f"{FOLDER}/bootstrap.json", "--disable-hot-restart",
        "--concurrency", "3", "--log-level", "info", "--component-log-level", "misc:error,config:error",
        "--drain-time-s", "180", "--file-flush-interval-msec", "1000",
    ]  # fmt: skip


def test_the_public_names_are_those_that_can_be_imported():
    assert [name for name in gateway.__all__ if not hasattr(gateway, name)] == []
    assert len(set(gateway.__all__)) == len(gateway.__all__)


def test_an_engine_is_healthy_only_when_nothing_speaks_against_it():
    def host(port: int, **health: Any) -> dict[str, Any]:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        return {"address": address, "health_status": {"eds_health_status": "HEALTHY", **health}}

    hosts = [
        host(1),
        host(9000),
        host(9001, failed_active_health_check=True),
        host(9002, failed_outlier_check=True),
        host(9003, pending_active_hc=True, failed_active_health_check=True),
    ]
    answer = {"cluster_statuses": [{"name": "other"}, {"name": "tiny@main", "host_statuses": hosts}]}
    assert gateway.healthy(answer, "tiny@main") == (("127.0.0.1", 9000),)
    assert gateway.healthy(answer, "unknown") == ()


def test_what_is_not_in_use_yet_is_named():
    stats = {"stats": [{"name": "cluster_manager.cds.version_text", "value": "c1"}]}
    dump = {
        "configs": [
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
                "dynamic_warming_clusters": [{"cluster": {"name": "tiny@main"}}],
            },
        ],
    }
    found = gateway.published(dump, stats, clusters="c1", routes="r1", endpoints={"tiny@main": "e1"})
    assert found.waiting == (
        "clusters: tiny@main is warming up",
        "routes: version none is in use, r1 is wanted",
        "endpoints of tiny@main: version none is in use, e1 is wanted",
    )
    assert not found.active
    assert gateway.published(dump, stats).active


def test_a_rejection_from_before_does_not_count():
    stats: Any = {"stats": [{"name": "cluster_manager.cds.update_rejected", "value": 2}]}
    dump: Any = {"configs": []}
    assert gateway.published(dump, stats, clusters="new").rejected == ("clusters",)
    assert gateway.published(dump, stats, clusters="new", before=gateway.rejections(stats)).rejected == ()
