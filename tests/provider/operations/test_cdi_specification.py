"""The CDI specification: how it is compared with driver and GPUs, and what the real toolkit writes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from berth.facts import HostFacts
from berth.facts.model import CdiFile, FileFact, GpuProcess, UnitFact
from berth.provider.errors import BadInput, CommandFailed
from berth.provider.operations.cdi_specification import DROP_IN, CdiSpecification, CdiSpecificationWant
from tests.facts.fixtures import recorded
from tests.provider.operations.facts_host import known
from tests.provider.operations.gpu_machine import GpuMachine

OPERATION = CdiSpecification()
WANT = CdiSpecificationWant(host="box")
WITHOUT_COMPAT = CdiSpecificationWant(host="box", disabled_hooks=["enable-cuda-compat"])
BY_HAND = CdiSpecificationWant(host="box", refreshed_by="nobody")
BOX = recorded("rtx5090-ubuntu2404")
FRESH = BOX.cdi[0]


def with_drop_in(facts: HostFacts, want: CdiSpecificationWant = WANT) -> HostFacts:
    """The facts with what is added to the toolkit's service."""
    file = FileFact(mode="0644", owner="root:root", content=want.order())
    return facts.model_copy(update={"files": {**facts.files, DROP_IN: file}})


def changed(*files: CdiFile, **facts: Any) -> HostFacts:
    """The box with other specifications; each is the fresh one where it says nothing else."""
    return with_drop_in(BOX.model_copy(update={"cdi": files or BOX.cdi, **facts}))


def spec(**different: Any) -> CdiFile:
    return FRESH.model_copy(update=different)


GONE = {"devices": ("0", "1", "GPU-00000000-0000-0000-0000-000000000000", "all")}


@pytest.mark.parametrize(
    ("facts", "want", "different"),
    [
        (changed(), WANT, []),
        (changed(spec(path="/run/cdi/nvidia.yaml")), WANT, []),  # one folder by two names
        (BOX, WANT, ["drop_in"]),
        (recorded("debian13"), WANT, ["existence"]),
        (recorded("h100x8-nvswitch"), WANT, ["existence"]),
        (changed(spec(kind="other.com/gpu")), WANT, ["existence"]),
        (changed(spec(driver="575.57.08")), WANT, ["problems[0]"]),
        (changed(spec(devices=("all",))), WANT, ["problems[0]"]),
        (changed(spec(**GONE)), WANT, ["problems[0]"]),
        (changed(FRESH, spec(path="/etc/cdi/nvidia.yaml")), WANT, ["duplicates[0]"]),
        (changed(spec(path="/etc/cdi/nvidia.yaml")), WANT, ["duplicates[0]", "problems[0]"]),
        (changed(FRESH, spec(path="/etc/cdi/other.yaml", kind="other.com/nic")), WANT, []),
        (changed(units={}), WANT, ["units"]),
        (
            changed(units={**BOX.units, "nvidia-cdi-refresh.path": UnitFact(active="active", enabled="disabled")}),
            WANT,
            ["units"],
        ),
        (
            changed(
                units={
                    **BOX.units,
                    "nvidia-cdi-refresh.service": UnitFact(active="active", enabled="enabled", needs_reload=True),
                }
            ),
            WANT,
            ["drop_in"],
        ),
        (changed(), WITHOUT_COMPAT, ["drop_in", "problems[0]"]),
        (with_drop_in(changed(spec(hooks=("update-ldcache",))), WITHOUT_COMPAT), WITHOUT_COMPAT, []),
        (BOX.model_copy(update={"cdi": (spec(path="/etc/cdi/nvidia.yaml"),), "units": {}}), BY_HAND, []),
        (changed(driver=BOX.driver.model_copy(update={"loaded": None})), WANT, ["problems[0]"]),
    ],
)
def test_what_is_seen(facts: HostFacts, want: CdiSpecificationWant, different: list[str]) -> None:
    assert OPERATION.differing(want, OPERATION.seen(facts, want)) == different


@pytest.mark.parametrize(
    ("facts", "want", "problems"),
    [
        (changed(spec(driver="575.57.08")), WANT, ["it is of driver 575.57.08, loaded is 580.95.05"]),
        (changed(spec(driver=None)), WANT, ["it is of driver (none), loaded is 580.95.05"]),
        (changed(spec(devices=())), WANT, ["it lacks GPU 0", "it lacks the device all"]),
        (changed(spec(**GONE)), WANT, ["it has GPU 1, which is gone"]),
        (changed(spec(path="/etc/cdi/nvidia.yaml")), WANT, ["there is none"]),
        (changed(driver=BOX.driver.model_copy(update={"loaded": None})), WANT, ["no driver is loaded"]),
        (with_drop_in(BOX, WITHOUT_COMPAT), WITHOUT_COMPAT, ["it has the hook enable-cuda-compat"]),
    ],
)
def test_a_stale_file_says_what_is_stale_about_it(
    facts: HostFacts, want: CdiSpecificationWant, problems: list[str]
) -> None:
    have = OPERATION.seen(facts, want)
    assert have is not None
    assert have.problems == problems


def test_another_driver_on_disk_makes_it_looked_at_and_is_no_difference() -> None:
    want = WANT.model_copy(update={"on_disk": "580.105.08"})
    assert OPERATION.differing(want, OPERATION.seen(changed(), want)) == []
    assert "on_disk" in OPERATION.late


def test_gpus_that_nobody_could_list_are_not_taken_for_gone() -> None:
    facts = changed(gpus=(), unread={"gpus": "nvidia-smi: ended with status 9"})
    assert OPERATION.differing(WANT, OPERATION.seen(facts, WANT)) == []


def test_gpus_in_parts_are_not_looked_for_as_wholes() -> None:
    parted = tuple(gpu.model_copy(update={"mig": True}) for gpu in BOX.gpus)
    facts = changed(spec(devices=("0:0", "0:1", "all")), gpus=parted)
    assert OPERATION.differing(WANT, OPERATION.seen(facts, WANT)) == []


async def test_a_second_specification_of_somebody_is_named_and_kept() -> None:
    facts = changed(FRESH, spec(path="/etc/cdi/mine.yaml"))
    with pytest.raises(BadInput, match=r"box: /etc/cdi/mine.yaml specifies nvidia.com/gpu beside .*; move it away"):
        await OPERATION.preflight(known(facts), WANT)


async def test_a_pod_is_told_that_it_cannot_be_changed_there() -> None:
    with pytest.raises(BadInput, match=r"box: CDI: .* cannot be changed here: this is a container"):
        await OPERATION.preflight(known(recorded("a40x2-pod")), WANT)
    await OPERATION.preflight(known(recorded("h100x8-nvswitch")), WANT)


async def test_a_preview_says_whom_systemd_takes_the_gpus_from() -> None:
    inside = GpuProcess(uuid="GPU-1", pid=1, memory=1, cgroup="/system.slice/docker-0123456789ab.scope")
    facts = recorded("h100x8-nvswitch").model_copy(update={"gpu_processes": (inside,)})  # NVIDIA's runtime is default
    told = await OPERATION.warnings(known(facts), WANT)
    assert [line.split(",")[0] for line in told] == ["box: systemd reads its units anew"]
    assert not await OPERATION.warnings(known(facts), BY_HAND)
    written = with_drop_in(facts.model_copy(update={"cdi": BOX.cdi}))
    for quiet in (written, recorded("h100x8-nvswitch")):
        assert not await OPERATION.warnings(known(quiet), WANT)


@pytest.mark.parametrize("name", ["x\nExecStart=/bin/sh", "a b", "A", "", "-x"])
def test_a_hook_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValidationError):
        CdiSpecificationWant(host="box", disabled_hooks=[name])


# With the real toolkit

FILE = "/var/run/cdi/nvidia.yaml"
BREAKAGES = {
    "the file is gone": (f"rm {FILE}", ["existence"]),
    "of another driver": (f"sed -i 's/580[.]105[.]08/575.57.08/g' {FILE}", ["problems[0]"]),
    "a card less": (f"""sed -i 's/name: "0"/name: "7"/' {FILE}""", ["problems[0]", "problems[1]"]),
    "a second file": ("mkdir -p /etc/cdi; nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", ["duplicates[0]"]),
    "not at the next boot": ("systemctl disable --quiet nvidia-cdi-refresh.service", ["units"]),
    "in no order with Docker": (f"rm {DROP_IN}", ["drop_in"]),
}


@pytest.mark.systemd
async def test_each_breakage_is_drift_and_repaired_and_a_container_sees_the_card(gpu_machine: GpuMachine) -> None:
    gpu_machine.configured('{"features": {"cdi": true}}')
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    for name, (script, different) in BREAKAGES.items():
        gpu_machine.out(script)
        host = gpu_machine.host  # of which nothing is known yet; the look is the one that the repair begins with
        have = await OPERATION.observe(host, WANT)
        assert OPERATION.differing(WANT, have) == different, (name, have)
        await OPERATION.converge(host, WANT, WANT)
    gpu_machine.said.clear()
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert gpu_machine.said == []
    seen = gpu_machine.out("docker run --rm --network none --device nvidia.com/gpu=all probe nvidia-smi -L")
    assert seen.startswith("GPU 0: NVIDIA GeForce RTX 5090 (UUID: GPU-")


@pytest.mark.systemd
async def test_a_hook_is_left_out_and_a_boot_keeps_it_so(gpu_machine: GpuMachine) -> None:
    await OPERATION.converge(gpu_machine.host, WITHOUT_COMPAT, WITHOUT_COMPAT)
    gpu_machine.machine.reboot()
    have = OPERATION.seen(await gpu_machine.facts(), WITHOUT_COMPAT)
    assert OPERATION.differing(WITHOUT_COMPAT, have) == []
    assert "nvidia-cdi-refresh.service" in gpu_machine.out("systemctl show --property After --value docker.service")
    warned = gpu_machine.out("systemd-analyze verify nvidia-cdi-refresh.service 2>&1 || :")
    assert "20-berth.conf" not in warned
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert "enable-cuda-compat" in (await gpu_machine.facts()).cdi[0].hooks


@pytest.mark.systemd
async def test_without_a_driver_it_says_so(gpu_machine: GpuMachine) -> None:
    gpu_machine.out(f"mv /usr/bin/nvidia-smi /usr/bin/nvidia-smi.away; rm {FILE}")
    with pytest.raises(CommandFailed, match="ran and wrote nothing: it finds no nvidia-smi, or no driver"):
        await OPERATION.converge(gpu_machine.host, WANT, WANT)
    gpu_machine.out("mv /usr/bin/nvidia-smi.away /usr/bin/nvidia-smi")
    await OPERATION.converge(gpu_machine.host, WANT, WANT)


@pytest.mark.systemd
async def test_one_made_by_hand_is_in_the_other_place(gpu_machine: GpuMachine) -> None:
    want = BY_HAND.model_copy(update={"disabled_hooks": ["enable-cuda-compat"], "on_destroy": "remove"})
    await OPERATION.converge(gpu_machine.host, want, want)
    assert [(file.path, "enable-cuda-compat" in file.hooks) for file in (await gpu_machine.facts()).cdi] == [
        ("/etc/cdi/nvidia.yaml", False)
    ]
    await OPERATION.converge(gpu_machine.host, None, want)
    assert not (await gpu_machine.facts()).cdi
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
