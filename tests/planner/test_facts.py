"""What the planner takes from the facts of a host: what others hold on its cards, and the driver that programs meet."""

from __future__ import annotations

import pytest

from berth.facts.model import DriverFact, GpuProcess
from berth.planner.facts import driver_of, foreign, without_own
from tests.facts.fixtures import recorded

MIB = 2**20
LOGS, PREFIX = "/srv/berth/prod/logs", "berth-prod-abc123"


@pytest.mark.parametrize(("used", "counted"), [(0, 0), (15, 0), (64, 256), (300, 512), (290, 512), (512, 512)])
def test_small_movements_on_a_card_change_nothing(used: int, counted: int) -> None:
    gpu = recorded("rtx5090-ubuntu2404").gpus[0].model_copy(update={"used": used * MIB})
    assert foreign(gpu) == counted * MIB


def test_own_engines_are_taken_off() -> None:
    host = recorded("h100x8-nvswitch")
    first, second = host.gpus[0].uuid, host.gpus[1].uuid
    used = tuple(gpu.model_copy(update={"used": 41000 * MIB}) for gpu in host.gpus)
    processes = (
        GpuProcess(uuid=first, pid=1, memory=30000 * MIB, output=f"{LOGS}/a.log"),
        GpuProcess(uuid=first, pid=2, memory=10000 * MIB, cgroup="/docker/0123"),
        GpuProcess(uuid=second, pid=3, memory=40000 * MIB, cgroup=f"/system.slice/{PREFIX}-b.service"),
        GpuProcess(uuid=second, pid=4, memory=500 * MIB, output="/srv/berth/prod/logs-of-another"),
    )
    busy = host.model_copy(update={"gpus": used, "gpu_processes": processes})
    quiet = without_own(busy, LOGS, PREFIX)
    assert [gpu.used // MIB for gpu in quiet.gpus[:3]] == [11000, 1000, 41000]
    assert [process.pid for process in quiet.gpu_processes] == [2, 4]
    assert without_own(host, LOGS, PREFIX) is host


def test_in_a_pod_where_own_engines_run_all_counts_as_theirs() -> None:
    pod = recorded("a40x2-pod")
    used = tuple(gpu.model_copy(update={"used": 40000 * MIB}) for gpu in pod.gpus)
    mine = GpuProcess(uuid="", pid=9, memory=0, output=f"{LOGS}/a.log")
    theirs = mine.model_copy(update={"output": "/workspace/training.log"})
    seen = pod.model_copy(update={"gpus": used, "gpu_processes": (mine,)})
    assert [gpu.used for gpu in without_own(seen, LOGS, PREFIX).gpus] == [0, 0]
    seen = pod.model_copy(update={"gpus": used, "gpu_processes": (theirs,)})
    assert without_own(seen, LOGS, PREFIX) is seen


def test_the_driver_is_the_loaded_one() -> None:
    host = recorded("v100-ubuntu2204")
    assert driver_of(host) == "580.65.06"
    assert driver_of(host.model_copy(update={"driver": DriverFact(installed="575.1", packages="575.1")})) == "575.1"
    assert driver_of(recorded("laptop")) is None
