"""What a declaration comes to on recorded machines, and what is refused or said about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from berth.facts import HostFacts
from berth.facts.model import DockerFact, DriverFact, FileFact, PackageFact
from berth.planner.plan import Plan, Severity
from berth.planner.plan.prerequisites import PrerequisitesPlan
from berth.planner.planning import plan
from berth.spec import loads
from tests.facts.fixtures import MACHINES, recorded

LINE = "hosts: {box: {connection: {ssh: {host: box, host_key: ssh-ed25519 A}}, gpus: [%s], prerequisites: {%s}}}"


def decided(said: str, machine: str | HostFacts | None, gpus: str = "") -> Plan:
    facts = recorded(machine) if isinstance(machine, str) else machine
    return plan(loads(LINE % (gpus, said)), "x", facts={"box": facts} if facts is not None else {})


def found(said: str, machine: str | HostFacts, gpus: str = "") -> PrerequisitesPlan:
    one = decided(said, machine, gpus)
    assert one.refusals == ()
    prerequisites = one.hosts["box"].prerequisites
    assert prerequisites is not None
    return prerequisites


def said(one: Plan, severity: Severity) -> list[str]:
    return [str(note) for note in one.notes if note.severity is severity]


def changed(machine: str, **values: Any) -> HostFacts:
    return recorded(machine).model_copy(update=values)


def packages(machine: str, **versions: str) -> HostFacts:
    more = {name.replace("_", "-"): PackageFact(version=version) for name, version in versions.items()}
    return changed(machine, packages={**recorded(machine).packages, **more})


def test_nothing_declared_is_nothing_planned():
    stack = (
        "hosts: {box: {connection: local}}\nmodels: {m: {source: {random: tiny}, engine: vllm, place: [{host: box}]}}"
    )
    assert plan(loads(stack), "x").hosts["box"].prerequisites is None


def test_of_a_machine_that_was_never_seen_only_that_is_said():
    one = decided("driver: {branch: 580}", None)
    assert one.hosts["box"].prerequisites is None
    assert one.hosts["box"].declares == {"driver"}
    assert said(one, Severity.NOTE) == [
        "hosts.box.prerequisites: the machine was not observed; what they need is said once it can be read"
    ]


@pytest.mark.parametrize(
    ("what", "machine", "gpus", "branch", "flavour"),
    [
        ("driver: {branch: 580}", "debian13", "", 580, "open"),
        ("driver: {version: 575.64.05}", "debian13", "{model: rtx-5090}", 575, "open"),
        ("driver: {}", "debian13", "{model: rtx-5090}", 580, "open"),
        ("driver: {}", "debian12", "{model: v100-16}", 580, "proprietary"),
        ("driver: {branch: 535}", "debian12", "{model: a40}", 535, "proprietary"),
        ("driver: {branch: 535, flavour: open}", "debian12", "{model: a40}", 535, "open"),
        ("driver: {branch: 620}", "debian13", "{model: a40}", 620, "open"),
    ],
)
def test_branch_and_flavour_follow_from_the_cards(what: str, machine: str, gpus: str, branch: int, flavour: str):
    driver = found(what, changed(machine, gpus=()), gpus).driver
    assert driver is not None
    assert (driver.branch, driver.flavour) == (branch, flavour)


def test_names_follow_from_the_system():
    ubuntu = found("driver: {branch: 580}", "rtx5090-ubuntu2404", "{model: rtx-5090}").driver
    rocky = found("driver: {branch: 580}", "rocky9").driver
    assert ubuntu is not None
    assert rocky is not None
    assert (ubuntu.pinning, ubuntu.stream, ubuntu.initramfs) == ("nvidia-driver-pinning-580", None, "update-initramfs")
    assert ubuntu.headers == ("linux-headers-6.8.0-86-generic", "dkms", "linux-headers-generic")
    assert (rocky.pinning, rocky.stream, rocky.initramfs) == (None, "nvidia-driver:580-open", "dracut")


def test_the_initramfs_is_made_by_what_the_machine_has():
    facts = changed("rtx5090-ubuntu2404").model_copy(update={"initramfs": "dracut"})
    driver = found("driver: {branch: 580}", facts, "{model: rtx-5090}").driver
    assert driver is not None
    assert driver.initramfs == "dracut"


@pytest.mark.parametrize(
    ("module", "headers", "warned"),
    [(None, False, True), ("575.57.08", False, True), ("580.95.05", False, False), (None, True, False)],
)
def test_a_next_kernel_without_a_module_is_said(module: str | None, headers: bool, warned: bool):
    facts = packages("rtx5090-ubuntu2404", **({"linux_headers_6.8.0-90-generic": "6.8.0-90.91"} if headers else {}))
    driver = facts.driver.model_copy(update={"next_kernel": "6.8.0-90-generic", "next_module": module})
    one = decided("driver: {branch: 580}", facts.model_copy(update={"driver": driver}), "{model: rtx-5090}")
    lines = [line for line in said(one, Severity.WARNING) if "boots kernel 6.8.0-90-generic next" in line]
    assert bool(lines) == warned
    assert all("install linux-headers-6.8.0-90-generic" in line for line in lines)


@pytest.mark.parametrize(("cards", "packages"), [(8, ("nvidia-fabricmanager",)), (1, ())])
def test_a_whole_baseboard_of_nvlink_5_has_a_switch_that_no_bus_shows(cards: int, packages: tuple[str, ...]):
    facts = changed("debian13", gpus=(), pci_gpus=())
    driver = found("driver: {branch: 580}", facts, f"{{model: b200, count: {cards}}}").driver
    assert driver is not None
    assert (driver.fabric_manager, driver.companions) == (packages, ("nvlsm",) if packages else ())


@pytest.mark.parametrize(
    ("what", "gpus", "words"),
    [
        (
            "driver: {branch: 580}",
            "{model: rtx-5090}, {model: v100-16}",
            "needs open kernel modules and Tesla V100-SXM2-16GB proprietary ones",
        ),
        (
            "driver: {branch: 580, flavour: proprietary}",
            "{model: rtx-5090}",
            "must be open for NVIDIA GeForce RTX 5090",
        ),
        ("driver: {branch: 580, flavour: open}", "{model: v100-16}", "must be proprietary for Tesla V100"),
        ("driver: {branch: 595}", "{model: v100-16}", "branch 595 has dropped Tesla V100-SXM2-16GB"),
        ("driver: {branch: 545}", "{model: rtx-5090}", "branch 545 does not know NVIDIA GeForce RTX 5090"),
        ("driver: {branch: 620, flavour: proprietary}", "{model: a40}", "branch 620 has no other"),
    ],
)
@pytest.mark.parametrize("machine", [None, "debian13"])
def test_a_driver_that_cannot_be_is_refused_seen_or_not(machine: str | None, what: str, gpus: str, words: str):
    facts = changed(machine, gpus=()) if machine else None
    (line,) = [line for line in said(decided(what, facts, gpus), Severity.REFUSAL) if "driver" in line]
    assert words in line


def test_a_pod_is_verified_and_each_part_that_is_declared_refused():
    one = decided("driver: {}, docker: {}, limits: {memlock: unlimited}", "a40x2-pod")
    lines = said(one, Severity.REFUSAL)
    assert [line.partition(":")[0].rpartition(".")[2] for line in lines] == ["docker", "driver", "limits"]
    assert all("is a container (runpod) without systemd, where it cannot be changed" in line for line in lines)


def test_a_login_without_rights_is_refused_once():
    (line,) = said(decided("driver: {}, docker: {}", "laptop"), Severity.REFUSAL)
    assert "the login me has no rights of root" in line


def test_a_system_that_is_not_known_is_refused_with_those_that_are():
    facts = changed("debian13")
    facts = facts.model_copy(
        update={"os": facts.os.model_copy(update={"id": "fedora", "version": "42", "pretty": "Fedora 42"})}
    )
    (line,) = said(decided("docker: {}", facts), Severity.REFUSAL)
    assert "has Fedora 42, must have one of Ubuntu 22.04, Ubuntu 24.04, Ubuntu 26.04, Debian 12" in line


def test_packages_of_another_packager_are_not_mixed():
    facts = packages("rtx5090-ubuntu2404", nvidia_utils_580_server="580.95.05-0ubuntu0.24.04.1")
    (line,) = said(decided("driver: {}", facts, "{model: rtx-5090}"), Severity.REFUSAL)
    assert "nvidia-utils-580-server of Ubuntu's own archive is installed" in line


def test_a_driver_in_the_way_asks_for_a_reboot():
    never = said(decided("driver: {branch: 580}", "debian12"), Severity.WARNING)
    assert any("nouveau is loaded" in line and "say `reboot: allowed`" in line for line in never)
    allowed = said(decided("driver: {branch: 580, reboot: allowed}", "debian12"), Severity.WARNING)
    assert not any("nouveau" in line for line in allowed)


def test_secure_boot_is_said_before_anything_is_built():
    lines = said(decided("driver: {branch: 580}", "debian13"), Severity.WARNING)
    assert any("Secure Boot is enabled" in line and "mokutil --import /var/lib/dkms/mok.pub" in line for line in lines)


@pytest.mark.parametrize(("components", "warned"), [("main", True), ("main contrib", False)])
def test_a_debian_without_contrib_is_warned_of(components: str, warned: bool):
    source = FileFact(mode="0644", owner="root:root", content=f"Types: deb\nComponents: {components}\n")
    facts = changed("debian12", files={"/etc/apt/sources.list.d/debian.sources": source})
    lines = said(decided("driver: {branch: 580}", facts), Severity.WARNING)
    assert any("has Debian's contrib" in line for line in lines) is warned


def test_a_fabric_manager_comes_with_the_driver_of_an_nvswitch_machine():
    facts = changed("h100x8-nvswitch", packages={})
    driver = found("driver: {branch: 580}", facts).driver
    older = found("driver: {branch: 570}", facts).driver
    never = found("driver: {branch: 580}, fabric_manager: never", facts).driver
    assert driver is not None
    assert older is not None
    assert never is not None
    assert (driver.fabric_manager, driver.companions) == (("nvidia-fabricmanager",), ())
    assert older.fabric_manager == ("nvidia-fabricmanager-570",)
    assert never.fabric_manager == ()


@pytest.mark.parametrize(
    ("limit", "watts", "refused"),
    [
        ("450", {0: 450.0}, ""),
        ('{"0": 425.5}', {0: 425.5}, ""),
        ("90", {}, "is 90 W, must be from 400 to 600 W"),
        ('{"3": 450}', {}, "names GPU 3, must be one of [0]"),
    ],
)
def test_a_power_limit_is_one_that_the_card_takes(limit: str, watts: Mapping[int, float], refused: str):
    one = decided(f"driver: {{branch: 580, power_limit: {limit}}}", "rtx5090-ubuntu2404", "{model: rtx-5090}")
    lines = said(one, Severity.REFUSAL)
    assert (refused in lines[0]) if refused else not lines
    prerequisites = one.hosts["box"].prerequisites
    assert prerequisites is not None
    assert prerequisites.driver is not None
    assert prerequisites.driver.power == watts


def test_dockers_own_is_taken_unless_the_distributions_is_there():
    new = found("docker: {version: 28.5.1}", "debian13").docker
    assert new is not None
    assert {new.packages.packages[name] for name in ("docker-ce", "docker-ce-cli")} == {"5:28.5.1-*"}
    assert (new.packages.packages["docker.io"], new.packages.hold) == ("absent", True)
    facts = changed("debian13", packages={"docker.io": PackageFact(version="26.1.5+dfsg1-9")})
    kept = found("docker: {}", facts)
    assert kept.docker is not None
    assert (dict(kept.docker.packages.packages), kept.repositories) == ({"docker.io": "any"}, ())
    over = facts.model_copy(
        update={"files": {"/etc/apt/sources.list.d/docker.sources": FileFact(mode="0644", owner="root:root")}}
    )
    repaired = found("docker: {}", over).docker
    assert repaired is not None
    assert repaired.packages.packages["docker.io"] == "absent"
    warned = said(decided("docker: {package: docker-ce}", facts), Severity.WARNING)
    assert any("removes docker.io, which cannot stay beside docker-ce" in line for line in warned)


def test_a_docker_that_cannot_be_is_refused():
    snap = changed("debian13")
    snap = snap.model_copy(update={"docker": snap.docker.model_copy(update={"snap": True})})
    assert "is a snap" in said(decided("docker: {}", snap), Severity.REFUSAL)[0]
    assert "must be docker-ce" in said(decided("docker: {package: docker.io}", "rocky9"), Severity.REFUSAL)[0]
    assert "declare docker beside it" in said(decided("container_toolkit: {}", "debian13"), Severity.REFUSAL)[0]


def test_settings_of_docker_are_laid_on_what_berth_needs():
    plan = found("docker: {settings: {log-opts: {max-size: 1g}, mtu: 1400}}, container_toolkit: {}", "debian13")
    daemon = plan.daemon
    assert set(plan.daemon_defaults) == {"log-driver", "log-opts", "default-ulimits"}
    assert not found("container_toolkit: {}", "rtx5090-ubuntu2404").daemon_defaults
    assert daemon["log-opts"] == {"max-size": "1g"}
    assert daemon["mtu"] == 1400
    assert daemon["features"] == {"cdi": True}
    assert "nvidia" in daemon["runtimes"]


def test_a_mirror_is_taken_with_its_own_signature():
    over = "nvidia: {uri: 'http://mirror/cuda', suite: stable/, key: keys/m.asc, fingerprint: %s}" % ("A" * 40)
    (mirror,) = found(f"driver: {{}}, repositories: {{{over}}}", "debian13").repositories
    assert (mirror.uri, mirror.suite, mirror.key_file, mirror.key_url) == (
        "http://mirror/cuda",
        "stable/",
        "keys/m.asc",
        None,
    )
    plain = "docker: {uri: 'http://mirror/docker'}"
    (mirror,) = found(f"docker: {{}}, repositories: {{{plain}}}", "debian13").repositories
    assert (mirror.uri, mirror.suite, mirror.components) == ("http://mirror/docker", "trixie", ("stable",))
    assert mirror.key_url == "https://download.docker.com/linux/debian/gpg"


def test_only_the_driver_comes_before_the_distributions_own_packages():
    debian, docker = found("driver: {}, docker: {}", "debian13").repositories
    assert debian.label == "NVIDIA CUDA"
    assert {"nvidia-*", "libnvidia-*"} <= set(debian.first)
    (rocky,) = found("driver: {}", "rocky9").repositories
    assert (docker.first, rocky.first, rocky.label) == ((), (), "")


def test_a_key_without_a_known_fingerprint_is_not_trusted():
    facts = changed("rocky9")
    facts = facts.model_copy(update={"os": facts.os.model_copy(update={"version": "10.1"})})
    (line,) = said(decided("driver: {branch: 580}", facts), Severity.REFUSAL)
    assert line.startswith("hosts.box.prerequisites.repositories.nvidia: the fingerprint of its key (https://")
    over = "repositories: {nvidia: {fingerprint: %s}}" % ("B" * 40)
    assert found(f"driver: {{branch: 580}}, {over}", facts).repositories[0].fingerprint == "B" * 40


def test_nobody_joins_the_group_docker_unasked():
    asked = "docker: {}, users: {ubuntu: {groups: [docker, docker]}}"
    assert found(asked, "rtx5090-ubuntu2404", "{model: rtx-5090}").users == {"ubuntu": ("docker",)}
    assert found("docker: {}", "rtx5090-ubuntu2404", "{model: rtx-5090}").users == {}


ALL = "driver: {power_limit: 450}, docker: {}, container_toolkit: {}, sysctl: {vm.swappiness: 10}, users: {anna: {}}"


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_gets_a_plan_or_reasons(machine: str):
    one = decided(ALL, machine)
    reasons = said(one, Severity.REFUSAL)
    assert reasons or one.hosts["box"].prerequisites is not None
    assert all(" must " in reason or "; " in reason for reason in reasons)


def test_what_is_wanted_is_the_same_before_and_after_it_is_there():
    after = recorded("rtx5090-ubuntu2404")
    nothing = {"driver": DriverFact(), "docker": DockerFact(), "gpus": (), "cdi": (), "toolkit": None}
    before = after.model_copy(update={**nothing, "packages": {}, "files": {}, "users": {}})
    assert found(ALL, before, "{model: rtx-5090}") == found(ALL, after, "{model: rtx-5090}")
