"""What the operations of the NVIDIA driver see in recorded facts, and what they refuse or warn of."""

from __future__ import annotations

from typing import Any

import pytest

from berth.facts import HostFacts
from berth.facts.model import FileFact, GpuProcess, PackageFact, UnitFact
from berth.provider.command import Command, Result
from berth.provider.connection import OnLine
from berth.provider.connection.local import LocalConnection
from berth.provider.errors import BadInput, ProviderError, RebootNeeded
from berth.provider.host import Gathered, Host
from berth.provider.nvidia_module import BLACKLIST, SEALED
from berth.provider.nvidia_packages import must_go
from berth.provider.operation import Operation
from berth.provider.operations import power_limit
from berth.provider.operations.fabric_manager import FabricManager, FabricManagerWant
from berth.provider.operations.loaded_driver import LoadedDriver, LoadedDriverWant
from berth.provider.operations.nvidia_driver import NvidiaDriver, NvidiaDriverWant
from berth.provider.operations.persistence_mode import CONTENT, DROP_IN, PersistenceMode, PersistenceModeWant
from berth.provider.operations.power_limit import PowerLimit, PowerLimitWant
from tests.facts.fixtures import recorded

V100 = recorded("v100-ubuntu2204")
H100 = recorded("h100x8-nvswitch")
POD = recorded("a40x2-pod")
RTX5090 = recorded("rtx5090-ubuntu2404")
OWN = FileFact(mode="0644", owner="root:root", content=SEALED)

PROPRIETARY = NvidiaDriverWant(
    host="box",
    manager="apt",
    branch=580,
    flavour="proprietary",
    packages=["libnvidia-compute-580", "nvidia-dkms-580", "nvidia-utils-580"],
    headers=["linux-headers-5.15.0-153-generic"],
    kernel="5.15.0-153-generic",
    initramfs="update-initramfs",
)


class Known(Gathered):
    """Facts that are known already."""

    def __init__(self, facts: HostFacts) -> None:
        super().__init__()
        self.facts = facts

    async def get(self, host: Host) -> HostFacts:
        del host
        return self.facts


class Scripted(LocalConnection):
    """STAND-IN for a machine with cards: what root runs ends with one status and says one thing, and does nothing."""

    def __init__(self, status: int = 0, says: str = "") -> None:
        super().__init__("box")
        self.status, self.says = status, says
        self.ran: list[str] = []

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        del on_line
        self.ran.append(command.says)
        return Result(status=self.status if command.root else 0, stdout="", stderr=self.says)


def box(facts: HostFacts, connection: Scripted | None = None) -> Host:
    return Host(
        name="box",
        workspace="/w",
        connection=connection or Scripted(),
        say=lambda _line: None,
        gathered=Known(facts),
    )


def changed(facts: HostFacts, **but: Any) -> HostFacts:
    """Facts with some of them changed; those of the driver by their own names."""
    driver = {key: but.pop(key) for key in list(but) if key in type(facts.driver).model_fields and key != "packages"}
    return facts.model_copy(update=but | {"driver": facts.driver.model_copy(update=driver)})


def with_packages(facts: HostFacts, *gone: str, **there: PackageFact) -> HostFacts:
    kept = {name: fact for name, fact in facts.packages.items() if name not in gone}
    return facts.model_copy(update={"packages": kept | {name.replace("_", "-"): fact for name, fact in there.items()}})


READY = with_packages(
    changed(V100, files={**V100.files, BLACKLIST: OWN}),
    linux_headers_5_15_0_153_generic=PackageFact(version="5.15.0-153.163"),
).model_copy(
    update={
        "packages": {
            **{name: fact.model_copy(update={"held": True}) for name, fact in V100.packages.items()},
            "linux-headers-5.15.0-153-generic": PackageFact(version="5.15.0-153.163"),
        }
    }
)


def differing(operation: Operation[Any], want: Any, facts: HostFacts) -> list[str]:
    return operation.differing(want, operation.seen(facts, want))  # type: ignore[attr-defined] # those on facts have it


@pytest.mark.parametrize(
    ("facts", "paths"),
    [
        pytest.param(READY, [], id="all is there"),
        pytest.param(recorded("debian12"), ["existence"], id="nothing is there"),
        pytest.param(changed(READY, files={}), ["nouveau"], id="no blacklist"),
        pytest.param(
            changed(READY, files={BLACKLIST: OWN.model_copy(update={"content": SEALED.rpartition("# ")[0]})}),
            ["nouveau"],
            id="the initramfs was not made anew",
        ),
        pytest.param(changed(READY, dkms={"5.15.0-153-generic": "built"}), ["module"], id="built, not installed"),
        pytest.param(changed(READY, installed=None), ["module"], id="no module for the kernel"),
        pytest.param(changed(READY, installed="570.172.08"), ["module"], id="a module of another version"),
        pytest.param(changed(READY, flavour="open"), ["flavour"], id="the other flavour on disk"),
        pytest.param(with_packages(READY, "linux-headers-5.15.0-153-generic"), ["headers[0]"], id="no headers"),
        pytest.param(
            with_packages(READY, "nvidia-utils-580"), ["packages[2]"], id="a package was removed: nothing else differs"
        ),
        pytest.param(
            with_packages(READY, nvidia_driver_pinning_575=PackageFact(version="575-1")),
            ["others[0]"],
            id="pinned to another branch",
        ),
        pytest.param(
            with_packages(READY, libnvidia_gl_575=PackageFact(version="575.57.08-0ubuntu1")),
            ["others[0]"],
            id="a package of another branch",
        ),
        pytest.param(
            with_packages(READY, bash=PackageFact(version="5", state="half-configured")),
            [],
            id="an unrelated interrupted installation",
        ),
        pytest.param(
            with_packages(READY, "nvidia-utils-580", bash=PackageFact(version="5", state="half-configured")),
            ["broken[0]", "packages[2]"],
            id="an unrelated interrupted installation in the way",
        ),
        pytest.param(
            with_packages(READY, libnvidia_gl_580=PackageFact(version="580.95.05-0ubuntu1", state="unpacked")),
            ["broken[0]"],
            id="an interrupted installation of the driver's",
        ),
        pytest.param(READY.model_copy(update={"kernel": "5.15.0-157-generic"}), ["kernel", "module"], id="rebooted"),
    ],
)
def test_each_breakage_of_a_driver_is_one_difference(facts: HostFacts, paths: list[str]) -> None:
    assert differing(NvidiaDriver(), PROPRIETARY, facts) == paths


def test_a_hold_taken_off_is_seen() -> None:
    packages = dict(READY.packages)
    packages["nvidia-dkms-580"] = packages["nvidia-dkms-580"].model_copy(update={"held": False})
    assert differing(NvidiaDriver(), PROPRIETARY, READY.model_copy(update={"packages": packages})) == ["hold"]


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("libnvidia-compute-575", True),
        ("libnvidia-compute-580", False),
        ("libcuda1", False),
        ("nvidia-firmware-580-580.95.05", True),
        ("nvidia-dkms-580", True),
        ("nvidia-kernel-source-580", True),
        ("nvidia-dkms-580-open", False),
        ("kmod-nvidia-latest-dkms", True),
        ("cuda-drivers", True),
        ("nvidia-open", False),
        ("nvidia-driver-pinning-575", True),
    ],
)
def test_what_is_in_the_way_goes_or_changes_its_version(name: str, goes: bool) -> None:
    assert must_go(name, 580, "open") == goes


def test_what_needs_the_other_modules_goes_only_with_them() -> None:
    want = PROPRIETARY.model_copy(update={"flavour": "open", "packages": ["libnvidia-compute-580"]})
    seen = NvidiaDriver().seen(READY, want)
    assert seen is not None
    assert seen.others == ["cuda-drivers-580", "nvidia-dkms-580"]
    without = NvidiaDriver().seen(with_packages(READY, "nvidia-dkms-580"), want)
    assert without is not None
    assert without.others == []


def test_another_branch_and_another_version_are_named() -> None:
    later = PROPRIETARY.model_copy(update={"version": "580.105.08"})
    assert NvidiaDriver().seen(READY, later).version == "580.95.05"  # type: ignore[union-attr] # it is installed
    branch = PROPRIETARY.model_copy(update={"branch": 595, "packages": ["nvidia-dkms"]})
    seen = NvidiaDriver().seen(READY, branch)
    assert seen is not None
    assert (seen.branch, seen.packages) == (580, [])
    assert "libnvidia-compute-580" in seen.others


def test_a_whole_driver_of_the_wanted_branch_is_taken_whoever_packaged_it() -> None:
    want = PROPRIETARY.model_copy(update={"branch": 570, "flavour": "open", "kernel": H100.kernel})
    assert NvidiaDriver().differing(want, NvidiaDriver().seen(H100, want)) == []


class Asked(Scripted):
    """STAND-IN as `Scripted`, for a machine of which the arguments of its commands are looked at."""

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        self.ran.append(" ".join(command.argv[3:]))
        return await super().run(command, on_line)


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        pytest.param(with_packages(READY, "nvidia-utils-580"), "nvidia-utils-580=580.95.05-*", id="a small repair"),
        pytest.param(recorded("debian12"), "nvidia-utils-580=580.*", id="nothing there: the newest"),
    ],
)
async def test_a_repair_keeps_the_point_release_that_is_there(facts: HostFacts, asked: str) -> None:
    connection = Asked()
    await NvidiaDriver().apply(box(facts, connection), PROPRIETARY, NvidiaDriver().seen(facts, PROPRIETARY))
    assert any(asked in ran for ran in connection.ran)


async def test_the_driver_on_disk_is_what_others_are_given() -> None:
    assert await NvidiaDriver().outputs(box(V100), PROPRIETARY) == {"on_disk": "580.95.05"}
    late = LoadedDriverWant(host="box", loaded="580", on_disk="580.95.05")
    assert LoadedDriver().differing(late, LoadedDriver().seen(RTX5090, late)) == []


async def test_other_files_beside_a_loaded_driver_are_said_before() -> None:
    gone = with_packages(changed(READY, loaded="580.65.06"), "nvidia-utils-580")
    (said,) = await NvidiaDriver().warnings(box(gone), PROPRIETARY)
    assert "becomes 580.95.05 while 580.65.06 is loaded" in said
    same = with_packages(changed(READY, loaded="580.95.05"), "nvidia-utils-580")
    assert not await NvidiaDriver().warnings(box(same), PROPRIETARY)
    other = PROPRIETARY.model_copy(update={"branch": 595, "packages": ["nvidia-dkms"]})
    (said,) = await NvidiaDriver().warnings(box(READY), other)
    assert "becomes the newest of branch 595 while" in said


async def test_packages_of_two_packagers_are_refused_with_the_way_out() -> None:
    want = PROPRIETARY.model_copy(update={"flavour": "open", "kernel": H100.kernel})
    with pytest.raises(BadInput, match=r"of ubuntu's packages, must be of nvidia's alone.*apt-get purge .*-server"):
        await NvidiaDriver().preflight(box(H100), want)


async def test_a_driver_of_no_package_is_refused_with_the_way_out() -> None:
    by_hand = changed(recorded("debian12"), installed="575.57.08", kernel=PROPRIETARY.kernel)
    with pytest.raises(BadInput, match=r"575\.57\.08 there is of no package.*nvidia-uninstall"):
        await NvidiaDriver().preflight(box(by_hand), PROPRIETARY)


async def test_another_kernel_than_the_planned_is_refused() -> None:
    with pytest.raises(BadInput, match=r"runs kernel 6\.1\.0-40-amd64, was planned for 5\.15\.0-153"):
        await NvidiaDriver().preflight(box(recorded("debian12")), PROPRIETARY)


async def test_a_login_without_root_is_refused() -> None:
    with pytest.raises(BadInput, match=r"cannot be changed here: .* has no rights of root"):
        await NvidiaDriver().preflight(box(recorded("laptop")), PROPRIETARY)


async def test_secure_boot_is_said_with_what_to_do_at_the_console() -> None:
    (said,) = await NvidiaDriver().warnings(box(recorded("debian13")), PROPRIETARY)
    assert "mokutil --import /var/lib/dkms/mok.pub" in said
    assert "Enroll MOK" in said
    assert await NvidiaDriver().warnings(box(recorded("debian12")), PROPRIETARY) == ()


@pytest.mark.parametrize(
    ("facts", "loaded"),
    [
        pytest.param(RTX5090, "580", id="the one on disk"),
        pytest.param(V100, "580.65.06", id="another than on disk, of the same branch"),
        pytest.param(H100, "570.172.08", id="of another branch"),
        pytest.param(recorded("debian12"), "nouveau", id="nouveau"),
        pytest.param(recorded("debian13"), "none", id="none"),
        pytest.param(changed(POD, loaded="580.95.05"), "580", id="in a pod, where nothing is on disk"),
    ],
)
def test_what_is_loaded_is_named(facts: HostFacts, loaded: str) -> None:
    assert LoadedDriver().seen(facts, LoadedDriverWant(host="box", loaded="580")).loaded == loaded


IN_USE = changed(V100, gpu_processes=(GpuProcess(uuid="GPU-1", pid=7, memory=1, command="VLLM::EngineCor"),))


@pytest.mark.parametrize(
    ("facts", "reboot", "said"),
    [
        (RTX5090, "never", None),
        (recorded("debian13"), "never", None),
        (V100, "never", "reboot needed unless nothing uses the cards then: driver 580.95.05 on disk, 580.65.06 loaded"),
        (
            IN_USE,
            "allowed",
            "reboot needed: driver 580.95.05 on disk, 580.65.06 loaded and used by VLLM::EngineCor",
        ),
        (recorded("debian12"), "never", "reboot needed: driver 580 wanted, nouveau loaded"),
    ],
)
async def test_a_preview_says_that_a_reboot_is_needed(facts: HostFacts, reboot: Any, said: str | None) -> None:
    want = LoadedDriverWant(host="box", loaded="580", reboot=reboot)
    then = {
        "never": "reboot the machine, or say reboot: allowed",
        "allowed": "the machine will be rebooted, reboot: allowed says so",
    }[reboot]
    assert list(await LoadedDriver().warnings(box(facts), want)) == ([f"box: {said}; {then}"] if said else [])


OPEN = changed(RTX5090, loaded_flavour="open")


@pytest.mark.parametrize(
    ("flavour", "facts", "paths"),
    [
        ("open", OPEN, []),
        ("proprietary", OPEN, ["flavour"]),
        ("", OPEN, []),
        ("proprietary", changed(RTX5090, loaded_flavour=None), []),
        ("proprietary", changed(OPEN, loaded=None, nouveau=()), ["loaded"]),
    ],
)
def test_the_other_flavour_in_the_kernel_is_one_difference(flavour: Any, facts: HostFacts, paths: list[str]) -> None:
    want = LoadedDriverWant(host="box", loaded="580", flavour=flavour)
    assert differing(LoadedDriver(), want, facts) == paths


async def test_the_other_flavour_is_named_where_a_reboot_may_be_needed() -> None:
    want = LoadedDriverWant(host="box", loaded="580", flavour="proprietary")
    (said,) = await LoadedDriver().warnings(box(OPEN), want)
    assert "on disk with proprietary modules, 580.95.05 loaded" in said or "with open ones" in said


@pytest.mark.parametrize("there", [None, "575.57.08"])
async def test_no_reboot_into_a_kernel_that_has_no_module(there: str | None) -> None:
    facts = changed(V100, next_kernel="5.15.0-157-generic", next_module=there)
    want = LoadedDriverWant(host="box", loaded="580", reboot="allowed")
    (said,) = await LoadedDriver().warnings(box(facts), want)
    assert (
        f"it will not be rebooted: it boots kernel 5.15.0-157-generic next, whose NVIDIA module is {there or 'not'}"
        in said
    )
    in_use = Scripted(8)
    with pytest.raises(ProviderError, match=r"not rebooted .*install linux-headers-5\.15\.0-157-generic there"):
        await applied(facts, in_use, want)
    assert not any("reboot" in ran for ran in in_use.ran)


WANT = LoadedDriverWant(host="box", loaded="580")
NOTHING_LOADED = changed(V100, loaded=None)


async def applied(facts: HostFacts, connection: Scripted, want: LoadedDriverWant = WANT) -> None:
    await LoadedDriver().apply(box(facts, connection), want, LoadedDriver().seen(facts, want))


async def test_a_driver_in_use_is_left_alone_and_the_reboot_asked_for() -> None:
    in_use = Scripted(8, "a warning of something else\npython3, VLLM::EngineCor\n")
    said = (
        r"^box: reboot needed: driver 580\.95\.05 on disk, 580\.65\.06 loaded and used by python3, VLLM::EngineCor; reb"
    )
    with pytest.raises(RebootNeeded, match=said):
        await applied(V100, in_use)
    assert in_use.ran == ["exchanging the loaded driver 580.65.06"]


async def test_with_processes_on_the_cards_nothing_is_tried() -> None:
    untouched = Scripted()
    busy = changed(V100, gpu_processes=(GpuProcess(uuid="GPU-1", pid=7, memory=1),))
    with pytest.raises(RebootNeeded, match="used by 7"):
        await applied(busy, untouched)
    assert untouched.ran == []


async def test_a_rejected_signature_is_explained() -> None:
    rejected = Scripted(1, "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service")
    with pytest.raises(ProviderError, match=r"mokutil --import /var/lib/shim-signed/mok/MOK\.der"):
        await applied(NOTHING_LOADED, rejected)


async def test_a_card_that_the_driver_does_not_know_is_named() -> None:
    unknown = Scripted(1, "modprobe: ERROR: could not insert 'nvidia': No such device")
    with pytest.raises(ProviderError, match=r"finds no card that it drives, must find .*10de:"):
        await applied(NOTHING_LOADED, unknown)


async def test_the_machine_that_pulumi_runs_on_is_never_rebooted() -> None:
    own = Scripted(8)
    with pytest.raises(RebootNeeded, match="never rebooted from here"):
        await applied(V100, own, WANT.model_copy(update={"reboot": "allowed"}))
    assert not any("reboot" in said for said in own.ran)


async def test_nothing_is_loaded_before_it_is_on_disk() -> None:
    with pytest.raises(ProviderError, match=r"no NVIDIA driver is on disk for kernel 6\.1\.0-40-amd64, must be 580"):
        await applied(recorded("debian12"), Scripted())


ACTIVE = UnitFact(active="active", enabled="enabled", result="success")
UNREAD = ACTIVE.model_copy(update={"needs_reload": True})
"""An update was cut between the file and systemd's reading it."""
PERSISTENT = RTX5090.model_copy(
    update={
        "files": {**RTX5090.files, DROP_IN: FileFact(mode="0644", owner="root:root", content=CONTENT)},
        "units": {**RTX5090.units, "nvidia-persistenced.service": ACTIVE},
    }
)


@pytest.mark.parametrize(
    ("facts", "paths"),
    [
        pytest.param(PERSISTENT, [], id="on"),
        pytest.param(RTX5090, ["existence"], id="on, not by us: it would not come back"),
        pytest.param(POD, [], id="on in a pod"),
        pytest.param(PERSISTENT.model_copy(update={"gpus": V100.gpus}), ["mode"], id="turned off"),
        pytest.param(PERSISTENT.model_copy(update={"units": RTX5090.units}), ["daemon"], id="not at boot"),
        pytest.param(PERSISTENT.model_copy(update={"units": {}}), ["daemon"], id="no daemon"),
        pytest.param(
            PERSISTENT.model_copy(update={"units": {"nvidia-persistenced.service": UNREAD}}), ["drop_in"], id="not read"
        ),
    ],
)
def test_persistence_is_what_service_and_cards_say(facts: HostFacts, paths: list[str]) -> None:
    assert differing(PersistenceMode(), PersistenceModeWant(host="box"), facts) == paths


async def test_a_pod_that_has_it_off_cannot_turn_it_on() -> None:
    off = POD.model_copy(update={"gpus": V100.gpus})
    with pytest.raises(BadInput, match=r"persistence mode is off, must be on.*cannot be changed here: .*runpod"):
        await PersistenceMode().preflight(box(off), PersistenceModeWant(host="box"))
    await PersistenceMode().preflight(box(POD), PersistenceModeWant(host="box"))


async def test_containers_that_may_lose_their_cards_are_named_before() -> None:
    process = GpuProcess(
        uuid="GPU-1", pid=7, memory=1, command="vllm", cgroup="/system.slice/docker-0123456789abcdef.scope"
    )
    docker = RTX5090.docker.model_copy(update={"cdi_devices": (), "cgroup_driver": "systemd"})
    busy = RTX5090.model_copy(update={"gpu_processes": (process,), "docker": docker})
    (said,) = await PersistenceMode().warnings(box(busy), PersistenceModeWant(host="box"))
    assert "takes the GPUs from running containers that got them without CDI (perhaps 0123456789ab:" in said
    assert not await PersistenceMode().warnings(box(RTX5090), PersistenceModeWant(host="box"))


LIMIT = PowerLimitWant(host="box", watts={"0": 450})


def limited(watts: float) -> HostFacts:
    gpus = tuple(gpu.model_copy(update={"power_limit": watts}) for gpu in RTX5090.gpus)
    file = FileFact(mode="0644", owner="root:root", content=power_limit.content(LIMIT.watts))
    return RTX5090.model_copy(
        update={"gpus": gpus, "files": {power_limit.FILE: file}, "units": {power_limit.UNIT: ACTIVE}}
    )


@pytest.mark.parametrize(
    ("facts", "paths"),
    [
        pytest.param(limited(450.2), [], id="set, as the driver rounds it"),
        pytest.param(limited(575), ["watts.0"], id="set to something else"),
        pytest.param(limited(450).model_copy(update={"units": {}}), ["unit"], id="not at boot"),
        pytest.param(limited(450).model_copy(update={"units": {power_limit.UNIT: UNREAD}}), ["unit"], id="not read"),
        pytest.param(limited(450).model_copy(update={"gpus": ()}), ["watts.0"], id="no card"),
        pytest.param(RTX5090, ["existence"], id="not set by us"),
    ],
)
def test_power_limits_are_what_service_and_cards_say(facts: HostFacts, paths: list[str]) -> None:
    normal = [path.replace('watts["0"]', "watts.0") for path in differing(PowerLimit(), LIMIT, facts)]
    assert normal == paths


@pytest.mark.parametrize(
    ("watts", "said"),
    [
        ({"0": 700}, r"gpu 0 \(NVIDIA GeForce RTX 5090\) is to have 700 W, must be 400 to 600 W"),
        ({"0": 399}, "must be 400 to 600 W"),
        ({"3": 450}, "gpu 3 is not there, must be one of 0"),
    ],
)
async def test_a_limit_that_no_card_can_have_is_refused(watts: dict[str, float], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        await PowerLimit().preflight(box(RTX5090), PowerLimitWant(host="box", watts=watts))


FABRIC = FabricManagerWant(host="box", manager="apt", packages=["nvidia-fabricmanager-570"])


@pytest.mark.parametrize(
    ("facts", "paths"),
    [
        pytest.param(H100, [], id="running in the driver's version"),
        pytest.param(changed(H100, installed="570.195.03"), ["version"], id="the driver was upgraded without it"),
        pytest.param(changed(H100, fabric="in progress"), ["state"], id="the fabric is not complete"),
        pytest.param(changed(H100, fabric=None), [], id="a switch of an older kind, whose cards say nothing"),
        pytest.param(changed(H100, fabric="completed: Unknown Error"), ["state"], id="complete with an error"),
        pytest.param(changed(H100, fabric="n/a"), [], id="a card that has no word for it"),
        pytest.param(changed(H100, units={}), ["state"], id="stopped"),
        pytest.param(
            with_packages(H100, bash=PackageFact(version="5", state="half-configured")),
            [],
            id="an unrelated installation was interrupted",
        ),
        pytest.param(
            changed(
                with_packages(H100, bash=PackageFact(version="5", state="half-configured")), installed="570.195.03"
            ),
            ["broken[0]", "version"],
            id="an unrelated installation in the way of its own",
        ),
        pytest.param(with_packages(H100, "nvidia-fabricmanager-570"), ["existence"], id="not installed"),
    ],
)
def test_the_fabric_manager_must_have_the_drivers_version_and_run(facts: HostFacts, paths: list[str]) -> None:
    assert differing(FabricManager(), FABRIC, facts) == paths


async def test_a_machine_without_a_switch_has_no_fabric_manager() -> None:
    with pytest.raises(BadInput, match="there is no NVSwitch"):
        await FabricManager().preflight(box(RTX5090), FABRIC)


async def test_a_fabric_manager_without_a_driver_says_how_to_get_one() -> None:
    driver = H100.driver.model_copy(update={"installed": None, "packages": None})
    none = H100.model_copy(update={"driver": driver})
    with pytest.raises(BadInput, match=r"no NVIDIA driver on disk, must be .*; declare prerequisites\.driver"):
        await FabricManager().apply(box(none), FABRIC, None)


async def test_the_fabric_manager_is_asked_for_in_the_version_of_the_driver_on_disk() -> None:
    connection = Scripted(1, "E: Version '570.195.03-*' for 'nvidia-fabricmanager-570' was not found")
    facts = changed(H100, installed="570.195.03")
    with pytest.raises(ProviderError, match="CUDA says error 802"):
        await FabricManager().apply(box(facts, connection), FABRIC, FabricManager().seen(facts, FABRIC))


@pytest.mark.parametrize(
    ("but", "said"),
    [
        (
            {"fabric": "failed"},
            "is running, fabric failed, and is started anew, which ends what runs on the cards: vllm",
        ),
        ({"installed": "570.195.03"}, "is of version 570.172.08, and is started anew"),
        ({"gpu_processes": (), "fabric": "failed"}, None),
        ({"units": {"nvidia-fabricmanager.service": UnitFact(active="active", enabled="disabled")}}, None),
    ],
)
async def test_a_preview_says_whose_work_a_new_start_of_the_fabric_manager_ends(
    but: dict[str, Any], said: str | None
) -> None:
    busy = {"gpu_processes": (GpuProcess(uuid="GPU-1", pid=7, memory=1, command="vllm"),)}
    found = await FabricManager().warnings(box(changed(H100, **{**busy, **but})), FABRIC)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
