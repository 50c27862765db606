"""Processes that really run, under supervisord and under systemd alike."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest

from berth.provider.errors import BadInput, StartFailed
from berth.provider.operations.supervisor import Supervisor
from berth.provider.operations.workspace import Workspace, WorkspaceWant
from tests.provider.operations.conftest import under_supervisord
from tests.provider.operations.site import PROCESS, REPLICA, Site, configured, until


async def test_it_runs_as_declared_and_is_left_alone_afterwards(place: Site) -> None:
    want = place.process(environment={"GREETING": 'it\'s $HOME % \\ "x"'}, working_directory="/tmp")
    assert await PROCESS.observe(place.host, want) is None
    await PROCESS.converge(place.host, want, want)
    pid = await place.pid(want)
    assert (
        await place.sh("tr '\\0' '\\n' < /proc/$1/environ | grep ^GREETING", str(pid))
        == 'GREETING=it\'s $HOME % \\ "x"'
    )
    assert await place.sh("readlink /proc/$1/cwd", str(pid)) == "/tmp"
    place.said.clear()
    assert await PROCESS.converge(place.host, want, want) == want
    assert place.said == []
    assert await place.pid(want) == pid


async def test_limits_hold_where_systemd_keeps_it(place: Site) -> None:
    want = place.replica(cpus=0.5, memory=512 * 2**20)
    await REPLICA.converge(place.host, want, want)
    assert await REPLICA.observe(place.host, want) == want
    if place.supervision["init"] == "systemd":
        unit = f"{place.supervision['unit_prefix']}-one.service"
        shown = await place.sh('systemctl show --property=CPUQuotaPerSecUSec --property=MemoryMax "$1"', unit)
        assert sorted(shown.splitlines()) == ["CPUQuotaPerSecUSec=500ms", "MemoryMax=536870912"]
    more = want.model_copy(update={"memory": 2**30})
    assert REPLICA.differing(more, await REPLICA.observe(place.host, more)) == ["memory"]
    await REPLICA.converge(place.host, None, want)


async def test_a_secret_that_was_opened_to_others_is_closed_without_a_restart(place: Site) -> None:
    want = place.replica(secrets={"MY_TOKEN": "s3cr3t"})
    file, mode = f"{want.folder}/secrets/MY_TOKEN", 'stat -c %a "$1"'
    await REPLICA.converge(place.host, want, want)
    assert await place.sh(mode, file) == "600"
    pid = await place.pid(want)
    for opened in ("0644", "0440"):
        await place.sh('chmod "$2" "$1"', file, opened)
        seen = await REPLICA.observe(place.host, want)
        assert seen is not None
        assert (REPLICA.differing(want, seen), seen.definition) == (["definition"], "secrets with another mode")
        assert await REPLICA.converge(place.host, want, want) == want
        assert await place.sh(mode, file) == "600"
    assert await place.pid(want) == pid
    await REPLICA.converge(place.host, None, want)


async def test_a_change_restarts_it_and_it_alone(place: Site) -> None:
    one, other = place.process("one"), place.process("other")
    for want in (one, other):
        await PROCESS.converge(place.host, want, want)
    before = await place.pid(one), await place.pid(other)
    changed = place.process("one", environment={"A": "1"})
    seen = await PROCESS.observe(place.host, changed)
    assert PROCESS.differing(changed, seen) == ["environment.A"]
    await PROCESS.converge(place.host, changed, changed)
    assert await place.pid(one) != before[0]
    assert not await place.alive(before[0])
    assert await place.pid(other) == before[1]


async def test_killed_it_comes_back_by_itself(place: Site) -> None:
    want = place.process()
    await PROCESS.converge(place.host, want, want)
    pid = await place.pid(want)
    await place.sh('kill -9 "$1"', str(pid))

    async def back() -> bool:
        return await place.pid(want) not in {0, pid} and await PROCESS.observe(place.host, want) == want

    await until(back)
    assert not await place.alive(pid)


@pytest.mark.parametrize("edited", ["run", "runner.sh", "unit"])
async def test_a_file_edited_by_hand_shows_and_is_repaired(place: Site, edited: str) -> None:
    want = place.process()
    await PROCESS.converge(place.host, want, want)
    service = want.service()
    path = want.manager().unit_path(service) if edited == "unit" else f"{service.folder}/{edited}"
    await place.sh('echo "# by hand" >> "$1"', path)
    seen = await PROCESS.observe(place.host, want)
    assert seen is not None
    assert seen.definition == "edited by hand"
    await PROCESS.converge(place.host, want, want)
    assert await PROCESS.observe(place.host, want) == want


@pytest.mark.parametrize("missing", ["run", "unit"])
async def test_a_file_that_was_removed_comes_back(place: Site, missing: str) -> None:
    want = place.process()
    await PROCESS.converge(place.host, want, want)
    service = want.service()
    await place.sh('rm "$1"', want.manager().unit_path(service) if missing == "unit" else service.run_path)
    seen = await PROCESS.observe(place.host, want)
    assert seen is not None
    assert seen.definition == "missing"
    await PROCESS.converge(place.host, want, want)
    assert await PROCESS.observe(place.host, want) == want


async def test_stopped_by_hand_it_is_started_again(place: Site) -> None:
    want = place.process()
    await PROCESS.converge(place.host, want, want)
    for command in want.manager().stop(want.service()):
        await place.host.run(command)
    seen = await PROCESS.observe(place.host, want)
    assert seen is not None
    assert PROCESS.differing(want, seen) == ["state"]
    await PROCESS.converge(place.host, want, want)
    assert await PROCESS.observe(place.host, want) == want


async def test_one_that_dies_at_its_start_is_reported_at_once_and_left_stopped(place: Site) -> None:
    want = place.process(argv=["sh", "-c", "echo one; echo two; exit 7"], ready=["false"], start_timeout_s=60)
    began = time.monotonic()
    with pytest.raises(StartFailed) as caught:
        await PROCESS.converge(place.host, want, want)
    assert time.monotonic() - began < 20
    assert "it did not start: it ended with status 7" in str(caught.value)
    assert "  one\n  two\n" in str(caught.value)
    seen = await PROCESS.observe(place.host, want)
    assert seen is not None
    assert seen.state == "stopped"


async def test_one_that_never_gets_ready_is_reported_after_its_time(place: Site) -> None:
    want = place.process(ready=["false"], start_timeout_s=2)
    with pytest.raises(StartFailed, match="it was not ready within 2 s"):
        await PROCESS.converge(place.host, want, want)


async def test_a_taken_port_is_refused_with_its_holder_before_anything_is_written(place: Site) -> None:
    engine = place.replica()
    await REPLICA.converge(place.host, engine, engine)
    want = place.process("late", ports=[engine.port])
    with pytest.raises(BadInput) as caught:
        await PROCESS.converge(place.host, want, want)
    pid = await place.pid(engine)
    name = await place.sh("cat /proc/$1/comm", str(pid))
    assert str(caught.value) == (
        f"late on box: port {engine.port} is used by {name} (process {pid}); "
        "choose another port in the stack file, or stop that process"
    )
    assert await place.sh('ls -d "$1" 2> /dev/null || :', want.folder) == ""


async def test_its_own_port_is_not_taken(place: Site) -> None:
    want = place.replica()
    await REPLICA.converge(place.host, want, want)
    changed = want.model_copy(update={"arguments": {"max_model_len": 99}})
    await REPLICA.converge(place.host, changed, changed)
    assert await REPLICA.observe(place.host, changed) == changed


async def test_removed_it_leaves_nothing(place: Site) -> None:
    before = await place.sh('find "$1" | sort', place.root)
    units = await place.sh("ls /etc/systemd/system 2> /dev/null || :")
    want = place.process(
        argv=["sh", "-c", 'trap "" TERM; sleep 1000 & echo up; while :; do sleep 1; done'], stop_timeout_s=1
    )
    await PROCESS.converge(place.host, want, want)
    pid = await place.pid(want)
    assert len(await place.session(pid)) >= 2
    await PROCESS.converge(place.host, None, want)
    assert await place.session(pid) == []
    assert await PROCESS.observe(place.host, want) is None
    assert await place.sh('find "$1" | sort', place.root) == before
    assert await place.sh("ls /etc/systemd/system 2> /dev/null || :") == units
    await PROCESS.converge(place.host, None, want)


# Replicas


async def test_an_argument_that_changes_is_named_and_the_engine_restarted(place: Site) -> None:
    want = place.replica(arguments={"max_model_len": 1024, "dtype": "bfloat16"})
    await REPLICA.converge(place.host, want, want)
    assert await REPLICA.observe(place.host, want) == want
    assert await REPLICA.outputs(place.host, want) == {"pid": await place.pid(want)}
    changed = want.model_copy(update={"arguments": {"max_model_len": 2048, "dtype": "bfloat16"}})
    assert REPLICA.differing(changed, await REPLICA.observe(place.host, changed)) == ["arguments.max_model_len"]
    await REPLICA.converge(place.host, changed, changed)
    assert "--max-model-len 2048" in await place.sh("tr '\\0' ' ' < /proc/$1/cmdline", str(await place.pid(want)))


async def test_progress_of_a_start_is_said(place: Site) -> None:
    want = place.replica()
    await REPLICA.converge(place.host, want, want)
    assert "one: loading weights" in place.said
    assert "one: KV cache holds 12,345 tokens" in place.said


async def test_an_engine_that_cannot_start_is_explained_and_the_old_one_comes_back(place: Site) -> None:
    want = place.replica()
    await REPLICA.converge(place.host, want, want)
    fail = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    broken = want.model_copy(update={"variables": configured(fail=fail)})
    with pytest.raises(StartFailed) as caught:
        await REPLICA.converge(place.host, broken, broken)
    assert "the card ran out of memory while allocating 2.00 GiB" in str(caught.value)
    assert fail in str(caught.value)
    assert await REPLICA.observe(place.host, want) == want
    assert any("bringing the old one back" in line for line in place.said)


async def test_an_engine_that_hangs_on_its_dead_core_is_not_waited_for(place: Site) -> None:
    want = place.replica(variables=configured(fail="RuntimeError: no", linger=1), start_timeout_s=60)
    began = time.monotonic()
    with pytest.raises(StartFailed, match="it cannot start"):
        await REPLICA.converge(place.host, want, want)
    assert time.monotonic() - began < 25


async def test_engines_that_crash_together_come_back_one_after_the_other(place: Site) -> None:
    lock = f"{place.root}/card0.lock"
    wants = [place.replica(name, locks=[lock], variables=configured(start_s=2)) for name in ("one", "two")]
    for want in wants:
        await REPLICA.converge(place.host, want, want)
    old = [await place.pid(want) for want in wants]
    await place.sh('kill -9 "$@"', *map(str, old))

    async def back() -> bool:
        return all([await REPLICA.observe(place.host, want) == want for want in wants])

    await until(back, 60)
    spans = []
    for want in wants:
        lines = [line.split() for line in (await place.log(want)).splitlines() if line.startswith("STANDIN profiling")]
        times = [float(line[3]) for line in lines]
        spans += list(zip(times[::2], times[1::2], strict=True))
        assert await place.pid(want) not in old
    assert len(spans) == 4
    spans.sort()
    assert all(later[0] >= earlier[1] for earlier, later in itertools.pairwise(spans))


# supervisord itself


async def test_a_killed_supervisord_is_noticed_and_its_processes_adopted(supervised: Site) -> None:
    site = supervised
    assert site.supervisor is not None
    process, engine = site.process(), site.replica()
    await PROCESS.converge(site.host, process, process)
    await REPLICA.converge(site.host, engine, engine)
    pids = await site.pid(process), await site.pid(engine)
    await site.sh('kill -9 "$(cat "$1/pid")"', site.supervisor.folder)
    seen = await Supervisor().observe(site.host, site.supervisor)
    assert seen is not None
    assert Supervisor().differing(site.supervisor, seen) == ["state"]
    await Supervisor().converge(site.host, site.supervisor, site.supervisor)

    async def adopted() -> bool:
        return "adopting process" in await site.log(process) and "adopting process" in await site.log(engine)

    await until(adopted)
    assert (await site.pid(process), await site.pid(engine)) == pids
    await PROCESS.converge(site.host, process, process)
    await REPLICA.converge(site.host, engine, engine)
    assert (await site.pid(process), await site.pid(engine)) == pids
    site.said.clear()
    await PROCESS.converge(site.host, None, process)
    assert not await site.alive(pids[0])


async def test_what_a_process_says_after_its_supervisord_was_killed_is_in_the_log(supervised: Site) -> None:
    site = supervised
    assert site.supervisor is not None
    script = 'trap "echo still here $((1 + 1))" USR1; echo up; while :; do sleep 0.2; done'
    want = site.process(argv=["sh", "-c", script])
    await PROCESS.converge(site.host, want, want)
    pid = await site.pid(want)
    await site.sh('kill -9 "$(cat "$1/pid")"', site.supervisor.folder)
    await Supervisor().converge(site.host, site.supervisor, site.supervisor)
    await site.sh('kill -s USR1 "$1"', str(pid))

    async def said() -> bool:
        return "still here 2\n" in await site.log(want)

    await until(said, 10)
    assert await site.alive(pid)


async def test_an_edited_supervisord_configuration_shows_and_is_repaired(supervised: Site) -> None:
    site = supervised
    assert site.supervisor is not None
    await site.sh('echo "; by hand" >> "$1/supervisord.conf"', site.supervisor.folder)
    seen = await Supervisor().observe(site.host, site.supervisor)
    assert seen is not None
    assert Supervisor().differing(site.supervisor, seen) == ["definition"]
    await Supervisor().converge(site.host, site.supervisor, site.supervisor)


async def test_a_removed_supervisord_leaves_nothing_and_takes_its_processes_with_it(supervised: Site) -> None:
    site = supervised
    assert site.supervisor is not None
    want = site.process()
    await PROCESS.converge(site.host, want, want)
    pid = await site.pid(want)
    await Supervisor().converge(site.host, None, site.supervisor)
    assert not await site.alive(pid)
    assert await site.sh('ls "$1" 2> /dev/null || :', site.supervisor.folder) == ""


@pytest.mark.parametrize("name", ["a b", "a;b", "50% (x)", "it's", "한국어"])
async def test_a_folder_may_have_any_name(supervisor_environment: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as short:  # a Unix socket lies in it, and pytest's own folders are deep
        await _runs_in(Path(short) / name, supervisor_environment)


async def _runs_in(folder: Path, supervisor_environment: str) -> None:
    async with under_supervisord(folder, supervisor_environment) as site:
        want = site.process()
        await PROCESS.converge(site.host, want, want)
        assert await PROCESS.observe(site.host, want) == want
        assert "up\n" in await site.log(want)
        changed = site.process(environment={"A": "1"})
        await PROCESS.converge(site.host, changed, changed)
        await PROCESS.converge(site.host, None, changed)


async def test_a_new_port_that_is_taken_is_refused_while_the_old_one_serves_on(place: Site) -> None:
    one, two = place.replica("one"), place.replica("two")
    for want in (one, two):
        await REPLICA.converge(place.host, want, want)
    pids = await place.pid(one), await place.pid(two)
    moved = one.model_copy(update={"port": two.port})
    with pytest.raises(BadInput, match=f"one on box: port {two.port} is used by "):
        await REPLICA.converge(place.host, moved, moved)
    assert (await place.pid(one), await place.pid(two)) == pids


# The sweep


async def nothing(look: Awaitable[str]) -> bool:
    return await look == ""


async def test_a_sweep_takes_everything_and_no_stranger(place: Site) -> None:
    lock = f"{place.root}-card0"
    process, engine = place.process(), place.replica("one", locks=[lock])
    waiting = place.replica("two", locks=[lock], variables=configured(start_s=60))
    for operation, want in ((PROCESS, process), (REPLICA, engine)):
        await operation.converge(place.host, want, want)
    for command in REPLICA.steps(waiting, None):
        await place.host.run(command)
    stranger = int(await place.sh("setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $!"))
    boot = await place.sh("cat /proc/sys/kernel/random/boot_id")
    forged = f"{stranger} 1 {stranger} 1 1 {boot} x"
    await place.sh('mkdir -p "$1/state"; echo "$2" > "$1/state/process"', f"{place.root}/services/old", forged)
    pids = [await place.pid(process), await place.pid(engine)]
    sweep = WorkspaceWant(host="box", path=place.root, unit_prefix=place.supervision["unit_prefix"])
    try:
        assert await Workspace().converge(place.host, None, sweep) is None
        assert not any([await place.alive(pid) for pid in pids])
        left = 'ps -eo stat=,args= | grep -v ^Z | grep -F -- "$1/" | grep -v grep || :'
        await until(lambda: nothing(place.sh(left, place.root)))
        assert await place.sh('ls -d "$1" 2> /dev/null || :', place.root) == ""
        assert await place.alive(stranger)
    finally:
        await place.sh('kill -9 "$1"', str(stranger))


async def test_a_sweep_leaves_what_is_not_ours(supervised: Site) -> None:
    site = supervised
    await site.sh('mkdir -p "$1/thesis"; echo years > "$1/thesis/chapter"', site.root)
    sweep = WorkspaceWant(host="box", path=site.root, unit_prefix=site.supervision["unit_prefix"])
    assert await Workspace().converge(site.host, None, sweep) is None
    assert await site.sh('cat "$1/thesis/chapter"; ls "$1"', site.root) == "years\nthesis"
