"""What operations see in the facts of a host, and what they refuse before anything is changed; facts alone, no host."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from pydantic import ValidationError
from pysequoia import Tsk

from berth.facts import HostFacts
from berth.facts.model import DockerFact, FileFact, GpuProcess, PackageFact, UnitFact
from berth.provider.connection.local import LocalConnection
from berth.provider.errors import BadInput
from berth.provider.host import Gathered, Host
from berth.provider.operation import FactOperation, Want
from berth.provider.operations.limits import Limit, Limits, LimitsWant
from berth.provider.operations.package_repository import PackageRepository, PackageRepositoryWant
from berth.provider.operations.packages import Packages, PackagesWant
from berth.provider.operations.sysctl import Sysctl, SysctlWant
from berth.provider.operations.systemd_unit import SystemdUnit, SystemdUnitWant
from berth.provider.operations.unattended_upgrades import PATH, PATTERNS, UnattendedUpgrades, UnattendedUpgradesWant
from berth.provider.operations.user import User, UserWant
from tests.facts.fixtures import recorded
from tests.provider.operations.facts_host import known
from tests.provider.operations.tables import limits, sysctl, systemd_unit, unattended_upgrades

KEY = Tsk.generate("a publisher of packages").extract_certificate()
OTHER_KEY = Tsk.generate("another publisher").extract_certificate()


def facts(machine: str = "debian13", **more: Any) -> HostFacts:
    """A recorded machine with something else on it; mappings are added to those that are there."""
    plain = recorded(machine)
    update = {
        key: {**getattr(plain, key), **value} if isinstance(value, dict) else value for key, value in more.items()
    }
    return plain.model_copy(update=update)


def text(content: str | None) -> FileFact:
    return FileFact(mode="0644", owner="root:root", content=content)


class Known(Gathered):
    """Facts without a gathering."""

    def __init__(self, found: HostFacts) -> None:
        super().__init__()
        self._found = found

    async def get(self, host: Host) -> HostFacts:
        del host
        return self._found


def refused(operation: FactOperation[Any], want: Want, found: HostFacts) -> str:
    """What a preview says before anything is changed; empty where it says nothing."""
    host = Host(name="box", workspace="/w", connection=LocalConnection("box"), say=print, gathered=Known(found))
    try:
        asyncio.run(operation.preflight(host, want))
    except BadInput as problem:
        return str(problem)
    return ""


DRIVER = PackagesWant(host="box", manager="apt", name="it", packages={"foo": "580.*", "old": "absent"}, hold=True)


@pytest.mark.parametrize(
    ("packages", "differs"),
    [
        pytest.param({"foo": PackageFact(version="580.2", held=True)}, [], id="as asked"),
        pytest.param({}, None, id="nothing"),
        pytest.param({"foo": PackageFact(version="580.2", state="config-files")}, None, id="removed"),
        pytest.param({"foo": PackageFact(version="590.1", held=True)}, ["packages.foo"], id="another branch"),
        pytest.param({"foo": PackageFact(version="3:580.2", held=True)}, [], id="whatever the epoch"),
        pytest.param({"foo": PackageFact(version="580.2")}, ["hold"], id="not held"),
        pytest.param(
            {"foo": PackageFact(version="580.2", held=True), "old": PackageFact(version="1")},
            ["packages.old"],
            id="what must be absent is there",
        ),
        pytest.param(
            {"foo": PackageFact(version="580.2", state="half-configured", held=True)},
            ["broken[0]", "packages.foo"],
            id="half there",
        ),
        pytest.param(
            {"foo": PackageFact(version="580.2", held=True), "x": PackageFact(version="1", state="half-configured")},
            [],
            id="another half there, while nothing is to be installed",
        ),
        pytest.param(
            {"x": PackageFact(version="1", state="half-configured")},
            ["broken[0]", "packages.foo"],
            id="another half there in the way",
        ),
    ],
)
def test_packages_are_seen(packages: dict[str, PackageFact], differs: list[str] | None) -> None:
    have = Packages().seen(facts(packages=packages), DRIVER)
    assert (None if have is None else Packages().differing(DRIVER, have)) == differs


def test_packages_are_refused_where_they_cannot_be_had() -> None:
    any_foo = PackagesWant(host="box", manager="apt", name="it", packages={"foo": "2"})
    assert refused(Packages(), any_foo, facts()) == ""
    assert refused(Packages(), any_foo, facts("rocky9")) == "packages it on box: the host has dnf, must have apt"
    assert "needs root" in refused(Packages(), any_foo, facts(root=False))
    held = facts(packages={"foo": PackageFact(version="1", held=True)})
    assert "held by somebody else: foo at 1; must be 2" in refused(Packages(), any_foo, held)
    assert refused(Packages(), any_foo.model_copy(update={"hold": True}), held) == ""


REPOSITORY = PackageRepositoryWant(
    host="box",
    manager="apt",
    name="docker",
    uris=["https://download.docker.com/linux/debian"],
    suites=["trixie"],
    components=["stable"],
    key=str(KEY),
    fingerprint=KEY.fingerprint.upper(),
    obsolete=["/etc/apt/sources.list.d/old.list"],
)
THERE = {REPOSITORY.path: text(REPOSITORY.text()), REPOSITORY.key_path: text(str(KEY))}


@pytest.mark.parametrize(
    ("files", "differs"),
    [
        pytest.param(THERE, [], id="as declared"),
        pytest.param({}, None, id="nothing"),
        pytest.param({**THERE, REPOSITORY.path: text("Types: deb\n")}, ["entry"], id="another entry"),
        pytest.param({REPOSITORY.key_path: text(str(KEY))}, ["entry"], id="the key alone"),
        pytest.param({**THERE, REPOSITORY.key_path: text(str(OTHER_KEY))}, ["fingerprint", "key"], id="another key"),
        pytest.param(
            {**THERE, REPOSITORY.key_path: text(f"{KEY}{OTHER_KEY}")},
            ["fingerprint", "key"],
            id="a second key beside it",
        ),
        pytest.param({**THERE, REPOSITORY.key_path: text(None)}, ["fingerprint", "key"], id="no text as a key"),
        pytest.param({**THERE, REPOSITORY.obsolete[0]: text("")}, ["obsolete[0]"], id="an obsolete file"),
    ],
)
def test_a_repository_is_seen(files: dict[str, FileFact], differs: list[str] | None) -> None:
    have = PackageRepository().seen(facts(files=files), REPOSITORY)
    assert (None if have is None else PackageRepository().differing(REPOSITORY, have)) == differs


OWN_KEY = "Signed-By: /etc/apt/keyrings/docker.asc"


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("Suites: trixie", "Suites: bookworm", {"suites": ["bookworm"]}),
        ("//download.docker.com", "//mirror.local", {"uris": ["https://mirror.local/linux/debian"]}),
        ("Components: stable", "Components: stable test", {"components": ["stable", "test"]}),
        (OWN_KEY, "Signed-By: /tmp/x", {"entry": f"Signed-By: /tmp/x; no {OWN_KEY}"}),
        ("Types: deb", "Types: deb\nEnabled: no", {"entry": "Enabled: no"}),
        (
            "//download.docker.com",
            "//me:s3cret@mirror",
            {"entry": "URIs: https://mirror/linux/debian; no URIs: https://download.docker.com/linux/debian"},
        ),
    ],
)
def test_what_was_changed_in_an_entry_is_named(old: str, new: str, seen: dict[str, Any]) -> None:
    edited = {**THERE, REPOSITORY.path: text(REPOSITORY.text().replace(old, new))}
    have = PackageRepository().seen(facts(files=edited), REPOSITORY)
    assert have == REPOSITORY.model_copy(update=seen)
    assert PackageRepository().wants.model_validate(have.plain()) == have, "the state can hold it"
    assert PackageRepository().steps(REPOSITORY, have)


def test_what_was_changed_in_an_entry_of_dnf_is_named() -> None:
    want = REPOSITORY.model_copy(update={"manager": "dnf", "suites": [], "components": [], "signed": "metadata"})
    there = want.text().replace("baseurl=https://download.docker.com", "baseurl=http://mirror").replace("1\n", "0\n", 1)
    have = PackageRepository().seen(facts(files={want.path: text(there)}), want)
    assert have is not None
    assert (have.uris, have.entry) == (["http://mirror/linux/debian"], "enabled=0; no enabled=1")


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        (
            "earlier.list",
            "deb [arch=amd64 signed-by=/x] https://download.docker.com/linux/debian/ trixie stable\n",
            True,
        ),
        ("earlier.list", "# deb https://download.docker.com/linux/debian trixie stable\n", False),
        ("earlier.list", "deb https://download.docker.com/linux/debian bookworm stable\n", False),
        ("old.list", "deb https://download.docker.com/linux/debian trixie stable\n", False),
        (
            "earlier.sources",
            "Types: deb\nURIs: http://x\n https://download.docker.com/linux/debian\nSuites: trixie\n",
            True,
        ),
        ("earlier.sources", "Enabled: no\nURIs: https://download.docker.com/linux/debian\nSuites: trixie\n", False),
        ("earlier.list.save", "deb https://download.docker.com/linux/debian trixie stable\n", False),
    ],
)
def test_another_entry_for_the_same_repository_is_named(path: str, content: str, *, named: bool) -> None:
    full = f"/etc/apt/sources.list.d/{path}"
    said = refused(PackageRepository(), REPOSITORY, facts(files={full: text(content)}))
    words = f"repository docker on box: {full} declares it as well, must be the only one; remove it there, or name the "
    assert said == (f"{words}file in obsolete" if named else "")


def test_all_that_is_wrong_with_a_repository_is_said_at_once() -> None:
    want = REPOSITORY.model_copy(update={"manager": "dnf", "fingerprint": "A" * 40})
    other = {"/etc/yum.repos.d/other.repo": text("[docker]\nbaseurl=x\n")}
    lines = refused(PackageRepository(), want, facts(files=other, root=False)).splitlines()
    assert [line.partition(": ")[2].split(",")[0] for line in lines] == [
        "the host has apt",
        "adding it needs root",
        f"the text of its key holds {REPOSITORY.fingerprint}",
        "/etc/yum.repos.d/other.repo declares it as well",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"key": "", "key_url": ""}, id="no key"),
        pytest.param({"key_url": "https://x/key"}, id="two keys"),
        pytest.param({"key": "", "key_url": "-x"}, id="no address"),
        pytest.param({"suites": []}, id="no suite"),
        pytest.param({"suites": ["/"]}, id="components of a flat one"),
        pytest.param({"manager": "dnf"}, id="apt's words for dnf"),
        pytest.param({"fingerprint": "3bf863cc"}, id="a part of a fingerprint"),
        pytest.param({"uris": ["http://x y"]}, id="a blank"),
        pytest.param({"name": "../x"}, id="a path"),
    ],
)
def test_a_repository_that_cannot_be_is_refused_by_its_model(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PackageRepositoryWant.model_validate({**REPOSITORY.plain(), **wrong})


def test_unattended_upgrades_are_seen() -> None:
    operation, want = UnattendedUpgrades(), unattended_upgrades.WANT
    installed = {"unattended-upgrades": PackageFact(version="2.9")}
    assert operation.seen(facts(), want) == want
    assert operation.seen(facts(packages=installed), want) is None
    there = facts(packages=installed, files={PATH: text(unattended_upgrades.TEXT)})
    assert operation.seen(there, want) == want
    more = UnattendedUpgradesWant(host="box", patterns=["nvidia"])
    have = operation.seen(there, more)
    assert have is not None
    assert have.patterns == ["nvidia", "docker-ce"]
    edited = facts(packages=installed, files={PATH: text(unattended_upgrades.TEXT + "#clear x;\n")})
    assert operation.differing(want, operation.seen(edited, want)) == ["patterns[0]", "patterns[1]"]


@pytest.mark.parametrize(
    ("package", "left_alone"),
    [
        ("nvidia-driver-580-open", True),
        ("nvidia-container-toolkit", True),
        ("libnvidia-compute-580", True),
        ("libnvcuvid1", True),
        ("libcuda1", True),
        ("cuda-drivers", True),
        ("firmware-nvidia-gsp", True),
        ("xserver-xorg-video-nvidia-580", True),
        ("libegl-nvidia0", True),
        ("docker-ce-cli", True),
        ("docker.io", True),
        ("containerd.io", True),
        ("runc", True),
        ("linux-image-generic", False),
        ("docker-doc", False),
        ("openssh-server", False),
    ],
)
def test_what_engines_need_is_left_alone_and_nothing_else(package: str, left_alone: bool) -> None:
    assert any(re.match(pattern, package) for pattern in PATTERNS) is left_alone


def test_settings_of_the_kernel_are_seen_and_refused_in_a_pod() -> None:
    operation, want = Sysctl(), sysctl.WANT
    set_up = {"files": {sysctl.PATH: text(sysctl.TEXT)}, "sysctl": dict(want.values)}
    assert operation.seen(facts(), want) is None
    assert operation.seen(facts(**set_up), want) == want
    other = facts(files=set_up["files"], sysctl={**want.values, "vm.swappiness": "60"})
    assert operation.differing(want, operation.seen(other, want)) == ['values["vm.swappiness"]']
    edited = facts(sysctl=set_up["sysctl"], files={sysctl.PATH: text("x")})
    assert operation.differing(want, operation.seen(edited, want)) == ["boot"]
    said = refused(operation, want, facts("a40x2-pod", sysctl={"vm.swappiness": "60"}))
    assert said.startswith("box: vm.swappiness is 60, must be 10")
    assert "this is a container (runpod)" in said
    with pytest.raises(ValidationError):
        SysctlWant(host="box", name="x", values={"vm/../../x": "1"})
    with pytest.raises(ValidationError):
        SysctlWant(host="box", name="x", values={"vm.//.//.x": "1"})


def test_a_file_that_undoes_a_setting_at_boot_is_refused_by_its_name() -> None:
    operation, want = Sysctl(), sysctl.WANT
    done = {sysctl.PATH: text(sysctl.TEXT), "/etc/sysctl.d/99-sysctl.conf": text("vm.swappiness = 60\n")}
    quiet = {"/etc/sysctl.d/zzz.conf": text("# vm.swappiness = 1\n-net/ipv4/ip_local_port_range=32768\t60999\n")}
    old = {"/etc/sysctl.conf": text("vm/swappiness=60\n")}
    asyncio.run(operation.preflight(known(facts(systemd=True, files={**done, **quiet, **old})), want))
    said = refused(operation, want, facts(files={**done, "/etc/sysctl.d/zzz.conf": text("vm.swappiness=1\n")}))
    assert said == (
        f"box: /etc/sysctl.d/zzz.conf sets vm.swappiness to 1, must not, since it is read after {sysctl.PATH}, "
        "which says 10; take the line out"
    )
    assert "box: /etc/sysctl.conf sets" in refused(operation, want, facts(files={**done, **old}, systemd=False))


def test_limits_are_seen() -> None:
    operation, want = Limits(), limits.WANT
    assert operation.seen(facts(), want) is None
    assert operation.seen(facts(files={limits.PATH: text(limits.TEXT)}), want) == want
    for content in ("", limits.TEXT + "# by hand\n", "nonsense", limits.TEXT.replace("65536", "1024")):
        have = operation.seen(facts(files={limits.PATH: text(content)}), want)
        assert operation.differing(want, have) != []
    with pytest.raises(ValidationError):
        LimitsWant(host="box", name="x", limits=[Limit(domain="* - nofile 1\n*", item="nofile", value="1")])


@pytest.mark.parametrize(
    ("value", "nr_open", "fits"),
    [
        ("1048576", 0, True),
        ("1048577", 0, False),
        ("unlimited", 0, False),
        ("-1", 0, False),
        ("2000000", 2000000, True),
    ],
)
def test_more_open_files_than_the_kernel_allows_lock_logins_out(value: str, nr_open: int, fits: bool) -> None:
    limit = Limit(domain="*", item="nofile", value=value)
    want = LimitsWant(host="box", name="x", limits=[limit], nr_open=nr_open)
    box = facts(sysctl={"fs.nr_open": "1048576"})
    if fits:
        asyncio.run(Limits().preflight(known(box), want))
    else:
        assert f"nofile is {value}, must be at most 1048576, the kernel's fs.nr_open" in refused(Limits(), want, box)


def test_units_are_seen() -> None:
    operation, own, drop_in = SystemdUnit(), systemd_unit.OWN, systemd_unit.DROP_IN
    runs = UnitFact(active="active", enabled="enabled")
    there = {own.path: text(own.content)}
    assert operation.seen(facts(), own) is None
    assert operation.seen(facts(files=there, units={own.unit: runs}), own) == own
    failed = runs.model_copy(update={"active": "failed", "enabled": "disabled", "needs_reload": True})
    have = operation.seen(facts(files=there, units={own.unit: failed}), own)
    assert operation.differing(own, have) == ["active", "enabled", "loaded"]
    have = operation.seen(facts(units={drop_in.unit: runs}), drop_in)
    assert operation.differing(drop_in, have) == ["content"]
    assert operation.seen(facts(), systemd_unit.OFF) is None


def test_a_daemon_reload_is_refused_where_containers_would_lose_their_gpus() -> None:
    operation, want = SystemdUnit(), systemd_unit.DROP_IN
    scope = "/system.slice/docker-0123456789abcdef0123.scope"
    process = GpuProcess(uuid="GPU-1", pid=7, memory=1, cgroup=scope)
    legacy = facts("rtx5090-ubuntu2404", gpu_processes=(process,), docker=DockerFact(version="27.0"))
    said = refused(operation, want, legacy)
    assert "needs a daemon-reload, which takes the GPUs from running containers" in said
    assert "(0123456789ab)" in said
    assert refused(operation, want.model_copy(update={"reload": True}), legacy) == ""
    with_cdi = legacy.model_copy(update={"docker": DockerFact(version="29.3", cdi_devices=("nvidia.com/gpu=all",))})
    assert refused(operation, want, with_cdi) == ""
    loaded = legacy.model_copy(update={"files": {want.path: text(want.content)}})
    assert refused(operation, want, loaded) == ""


def test_units_are_refused_where_they_cannot_be_changed() -> None:
    operation, own = SystemdUnit(), systemd_unit.OWN
    masked = facts(units={own.unit: UnitFact(active="inactive", enabled="masked")}, files={own.path: text("")})
    assert f"run `systemctl unmask {own.unit}` there if it may run" in refused(operation, own, masked)
    assert "box: berth-power.service is not there, must be enabled and running; it cannot be changed here" in refused(
        operation, own, facts("a40x2-pod")
    )
    for wrong in ({"drop_in": "10-berth"}, {"content": "x"}, {"drop_in": "mine", "content": "x"}):
        with pytest.raises(ValidationError):
            SystemdUnitWant.model_validate({"host": "box", "unit": "docker.service", **wrong})


def test_accounts_are_seen() -> None:
    operation, want = User(), UserWant(host="box", name="ubuntu", groups=["docker", "render"])
    assert operation.seen(facts(), want) is None
    assert operation.seen(facts(users={"ubuntu": ("docker", "render", "sudo", "ubuntu")}), want) == want
    one = facts(users={"ubuntu": ("render",)})
    assert operation.differing(want, operation.seen(one, want)) == ["groups[0]", "groups[1]"]
    said = refused(operation, want, one.model_copy(update={"root": False}))
    assert said.startswith("box: the account ubuntu is in render, must be in docker, render; ")
