"""How a host is made ready: what is declared, in which order, and what others wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pulumi
import pytest
from pysequoia import Tsk

from berth.planner.plan.prerequisites import PrerequisitesPlan
from berth.planner.planning import plan
from berth.spec import loads
from components.prerequisites import HostPrerequisites, key_problems
from tests.components.recording import Registered, everything_before, registered
from tests.facts.fixtures import recorded

KEY = Tsk.generate("a mirror").extract_certificate()
OTHER_KEY = Tsk.generate("another mirror").extract_certificate()
ALL = """
hosts:
  box:
    connection: {ssh: {host: box}}
    gpus: [{model: rtx-5090}]
    prerequisites:
      driver: {branch: 580, power_limit: 450}
      docker: {version: 28.5.1, live_restore: true}
      container_toolkit: {version: 1.18.0}
      sysctl: {vm.swappiness: 10}
      limits: {memlock: unlimited}
      users: {anna: {groups: [video]}}
"""


def declared(text: str, machine: str = "rtx5090-ubuntu2404") -> PrerequisitesPlan:
    decided = plan(loads(text), "box", facts={"box": recorded(machine)})
    assert decided.refusals == ()
    found = decided.hosts["box"].prerequisites
    assert found is not None
    return found


def made(what: PrerequisitesPlan, project: Path = Path("/none")) -> Mapping[str, Registered]:
    return registered(lambda: HostPrerequisites("box-prerequisites", "box", what, project))


@pytest.fixture(scope="module")
def everything() -> Mapping[str, Registered]:
    return made(declared(ALL))


def test_all_that_is_declared_becomes_a_resource(everything: Mapping[str, Registered]) -> None:
    assert sorted(everything) == [
        "box-cdi",
        "box-container-toolkit",
        "box-docker",
        "box-docker-configuration",
        "box-driver",
        "box-limits",
        "box-loaded-driver",
        "box-packages-container-toolkit",
        "box-packages-docker",
        "box-persistence-mode",
        "box-power-limit",
        "box-prerequisites",
        "box-repository-cuda-ubuntu2404",
        "box-repository-docker",
        "box-repository-nvidia-container-toolkit",
        "box-sysctl",
        "box-unattended-upgrades",
        "box-user-anna",
    ]


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("box-limits", "box-sysctl"),
        ("box-packages-docker", "box-repository-docker"),
        ("box-packages-docker", "box-unattended-upgrades"),
        ("box-docker", "box-packages-docker"),
        ("box-docker-configuration", "box-docker"),
        ("box-docker-configuration", "box-packages-container-toolkit"),
        ("box-container-toolkit", "box-docker-configuration"),
        ("box-user-anna", "box-packages-docker"),
        ("box-driver", "box-repository-cuda-ubuntu2404"),
        ("box-loaded-driver", "box-driver"),
        ("box-persistence-mode", "box-loaded-driver"),
        ("box-power-limit", "box-persistence-mode"),
        ("box-cdi", "box-container-toolkit"),
        ("box-cdi", "box-persistence-mode"),
    ],
)
def test_the_order(everything: Mapping[str, Registered], later: str, earlier: str) -> None:
    assert earlier in everything_before(everything, later)


def test_the_package_manager_is_asked_for_one_thing_at_a_time(everything: Mapping[str, Registered]) -> None:
    users = [name for name in everything if "repository" in name or "packages" in name or name == "box-driver"]
    users.sort(key=lambda name: len(everything_before(everything, name)))
    assert all(one in everything_before(everything, other) for one, other in pairwise(users))


def test_a_reboot_meets_nothing_half_done(everything: Mapping[str, Registered]) -> None:
    after = {"box-loaded-driver", "box-persistence-mode", "box-power-limit", "box-cdi", "box-prerequisites"}
    assert set(everything) - after <= everything_before(everything, "box-loaded-driver")


def test_what_is_asked_of_each(everything: Mapping[str, Registered]) -> None:
    docker = everything["box-packages-docker"].inputs["packages"]
    assert (docker["docker-ce"], docker["containerd.io"], docker["docker.io"]) == ("5:28.5.1-*", "any", "absent")
    assert everything["box-packages-docker"].inputs["hold"] is True
    assert everything["box-power-limit"].inputs["watts"] == {"0": 450}
    assert everything["box-loaded-driver"].inputs["loaded"] == "580"
    assert everything["box-loaded-driver"].inputs["reboot"] == "never"
    assert everything["box-docker-configuration"].inputs["settings"]["live-restore"] is True
    assert everything["box-cdi"].inputs["disabled_hooks"] == ["enable-cuda-compat"]
    assert everything["box-user-anna"].inputs["groups"] == ["video"]
    assert everything["box-limits"].inputs["limits"] == [
        {"domain": domain, "kind": "-", "item": "memlock", "value": "unlimited"} for domain in ("*", "root")
    ]
    kept = {one.inputs.get("on_destroy") for name, one in everything.items() if name != "box-prerequisites"}
    assert kept == {"keep"}


def test_a_mirror_is_trusted_by_a_key_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "mirror.asc").write_bytes(bytes(KEY))
    text = """
hosts:
  box:
    connection: {ssh: {host: box}}
    prerequisites:
      driver: {branch: 580}
      on_destroy: remove
      repositories:
        nvidia: {uri: "http://mirror.local/cuda", key: mirror.asc, fingerprint: FINGERPRINT}
""".replace("FINGERPRINT", KEY.fingerprint)
    found = made(declared(text, "debian13"), tmp_path)
    mirror = found["box-repository-cuda-debian13"].inputs
    assert (mirror["uris"], mirror["suites"], mirror["key"]) == (["http://mirror.local/cuda"], ["/"], str(KEY))
    assert mirror["fingerprint"] == KEY.fingerprint.upper()
    assert mirror["on_destroy"] == "remove"
    hosts = plan(loads(text), "box", facts={"box": recorded("debian13")}).hosts
    assert list(key_problems(hosts, tmp_path)) == []
    (problem,) = key_problems(hosts, tmp_path / "other")
    assert problem == (
        "hosts.box.prerequisites.repositories.nvidia.key: mirror.asc is no file of this project, must be the "
        "repository's public key"
    )
    (tmp_path / "mirror.asc").write_bytes(b"\xff\xfe of no use")
    (problem,) = key_problems(hosts, tmp_path)
    assert problem.startswith("hosts.box.prerequisites.repositories.nvidia.key: mirror.asc holds no OpenPGP key (")
    (tmp_path / "mirror.asc").write_text(str(OTHER_KEY))
    (problem,) = key_problems(hosts, tmp_path)
    assert f"mirror.asc holds {OTHER_KEY.fingerprint.upper()}, must hold {KEY.fingerprint.upper()}" in problem


def test_names_that_real_machines_have_reach_the_operations_whole(tmp_path: Path) -> None:
    text = """
hosts:
  box:
    connection: {ssh: {host: box}}
    prerequisites:
      docker: {}
      sysctl: {vm/swappiness: 10, net.ipv4.conf.eth0/100.rp_filter: 1, net/ipv4/conf/eth0.7/mtu: 1400, fs.nr_open: 9000}
      limits: {nofile: 5000}
      users: {j.doe: {groups: [cards@example.org]}, Jane.Doe: {groups: [docker]}}
      repositories: {docker: {uri: "http://[fd00::1]:8080/debian", suite: trixie, components: [main]}}
"""
    plan_of = plan(loads(text), "box", facts={"box": recorded("debian13")}).hosts["box"].prerequisites
    assert plan_of is not None
    found = made(plan_of, tmp_path)
    names = {"vm.swappiness", "net.ipv4.conf.eth0/100.rp_filter", "net.ipv4.conf.eth0/7.mtu", "fs.nr_open"}
    assert set(found["box-sysctl"].inputs["values"]) == names
    assert found["box-limits"].inputs["nr_open"] == 9000
    assert {"box-user-j.doe", "box-user-Jane.Doe"} <= set(found)
    assert found["box-repository-docker"].inputs["uris"] == ["http://[fd00::1]:8080/debian"]


def test_others_wait_for_what_they_need() -> None:
    ready: list[HostPrerequisites] = []
    what = declared(ALL)
    registered(lambda: ready.append(HostPrerequisites("a", "box", what, Path("/none"))))
    assert [type(one).__name__ for one in ready[0].gpus_ready] == ["LoadedDriver", "PersistenceMode", "PowerLimit"]
    assert {type(one).__name__ for one in ready[0].runtime_ready} == {
        "DockerEngine", "DockerConfiguration", "ContainerToolkit", "CdiSpecification", "User",
    }  # fmt: skip
    assert not ready[0].may_reboot
    assert what.driver is not None
    registered(
        lambda: ready.append(
            HostPrerequisites(
                "b",
                "box",
                replace(what, driver=replace(what.driver, reboot=True)),  # type: ignore[type-var] # declared by the stack above
                Path("/none"),
                pulumi.ResourceOptions(),
            )
        )
    )
    assert ready[1].may_reboot


def test_the_toolkit_alone_uses_the_docker_that_is_there() -> None:
    text = """
hosts: {box: {connection: {ssh: {host: box}}, gpus: [{model: rtx-5090}], prerequisites: {container_toolkit: {}}}}
"""
    found = made(declared(text))
    assert sorted(found) == [
        "box-cdi",
        "box-container-toolkit",
        "box-docker-configuration",
        "box-packages-container-toolkit",
        "box-prerequisites",
        "box-repository-nvidia-container-toolkit",
        "box-unattended-upgrades",
    ]
    assert set(found["box-docker-configuration"].inputs["settings"]) == {"features", "runtimes"}


def test_what_is_loaded_and_given_to_containers_follows_the_driver_on_disk(
    everything: Mapping[str, Registered],
) -> None:
    loaded = everything["box-loaded-driver"].inputs
    assert (loaded["loaded"], loaded["flavour"], loaded["on_disk"]) == ("580", "open", "")
    assert everything["box-cdi"].inputs["on_disk"] == ""
