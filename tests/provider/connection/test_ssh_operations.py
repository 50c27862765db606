"""Operations and locks do over SSH what they do on this machine: the same scenes, played over both."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.facts import HostFacts
from berth.provider.command import put
from berth.provider.connection.settings import OverSsh
from berth.provider.errors import Busy, CommandFailed, Unreachable
from berth.provider.facts import gather_all
from berth.provider.host import Host, Hosts, HostSettings
from berth.provider.operations.file import File, FileWant
from berth.provider.operations.process import Process, ProcessWant
from berth.provider.operations.supervisor import Supervisor, SupervisorWant
from tests.sshd.server import Sshd


def quiet(_line: str) -> None:
    return None


def over_ssh(server: Sshd, workspace: str, **more: Any) -> HostSettings:
    """Settings as the provider gets them, by way of JSON."""
    said = OverSsh(ssh=server.settings()).model_dump_json()
    return HostSettings(connection=OverSsh.model_validate_json(said), workspace=workspace, **more)


@pytest.fixture(params=["local", "ssh"])
async def box(request: pytest.FixtureRequest, tmp_path: Path, ssh_server: Sshd) -> AsyncIterator[Host]:
    workspace = str(tmp_path / "work")
    local = HostSettings(connection="local", workspace=workspace)
    hosts = Hosts({"box": local if request.param == "local" else over_ssh(ssh_server, workspace)})
    yield await hosts.writer("box", quiet)
    await hosts.close()


@pytest.fixture
def short(tmp_path: Path) -> Iterator[Path]:
    """A folder whose path a Unix socket can bear."""
    folder = Path(f"/tmp/berth-ssh-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)
    del tmp_path


async def test_a_file(box: Host, tmp_path: Path) -> None:
    operation, path = File(), tmp_path / "a b/'quoted'"
    want = FileWant(host="box", path=str(path), content="line\nüber\n", mode="0640")
    assert await operation.observe(box, want) is None
    assert await operation.converge(box, want, want) == want
    assert path.read_text() == "line\nüber\n"
    path.write_text("by hand")
    have = await operation.observe(box, want)
    assert operation.differing(want, have) == ["content"]
    assert await operation.converge(box, want, want) == want
    assert await operation.converge(box, None, want) is None
    assert not path.exists()


async def test_supervisord_and_a_process(box: Host, short: Path, supervisor_environment: str) -> None:
    supervisor, process = Supervisor(), Process()
    folder = f"{short}/s"
    keeper = SupervisorWant(host="box", folder=folder, environment=supervisor_environment)
    want = ProcessWant(
        host="box",
        name="sleeper",
        init="supervisord",
        supervisor_folder=folder,
        supervisorctl=f"{supervisor_environment}/bin/supervisorctl",
        folder=f"{short}/services/sleeper",
        argv=["sh", "-c", 'echo "$0 is up"; exec sleep 4243', "it's"],
        log=f"{short}/logs/sleeper.log",
    )
    try:
        assert await supervisor.converge(box, keeper, keeper) == keeper
        assert await process.converge(box, want, want) == want
        assert "it's is up" in Path(want.log).read_text()
        # what was started is nobody's child here: it outlives the connection
        await box.connection.close()
        assert await process.observe(box, want) == want
        changed = want.model_copy(update={"argv": ["sleep", "4243"]})
        assert await process.converge(box, changed, changed) == changed
        assert await process.converge(box, None, changed) is None
        assert not Path(want.folder).exists()
    finally:
        assert await supervisor.converge(box, None, keeper) is None


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system of its own can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_is_said_so_and_leaves_the_old_file(box: Host, small: Path) -> None:
    await box.run(put(f"{small}/file", "old"))
    with pytest.raises(CommandFailed, match="No space left on device\nits disk is full; make room on the host"):
        await box.run(put(f"{small}/file", b"x" * 100_000))
    assert [path.read_text() for path in small.iterdir()] == ["old"]


async def test_one_writer_at_a_time_over_ssh_too(ssh_server: Sshd, tmp_path: Path) -> None:
    workspace = str(tmp_path / "work")
    first = Hosts({"box": over_ssh(ssh_server, workspace)})
    second = Hosts({"box": HostSettings(connection="local", workspace=workspace, lock_wait_s=0.2)})
    await first.writer("box", quiet)
    with pytest.raises(Busy, match=r"box: another update, of \S+@\S+ \(process \d+\), at it since"):
        await second.writer("box", quiet)
    await first.close()
    await second.close()
    third = Hosts({"box": HostSettings(connection="local", workspace=workspace, lock_wait_s=0.2)})
    await third.writer("box", quiet)
    await third.close()


async def test_a_lock_that_was_lost_with_its_connection_is_taken_again(own_ssh_server: Sshd, tmp_path: Path) -> None:
    workspace = str(tmp_path / "work")
    first = Hosts({"box": over_ssh(own_ssh_server, workspace)})
    second = Hosts({"box": HostSettings(connection="local", workspace=workspace, lock_wait_s=0.2)})
    await first.writer("box", quiet)
    own_ssh_server.drop()
    while not first._locks["box"]._folder.result().holder.done():
        await asyncio.sleep(0.01)
    await first.writer("box", quiet)
    with pytest.raises(Busy):
        await second.writer("box", quiet)
    await second.close()
    await first.close()


async def test_a_relative_workspace_is_below_the_home_there(ssh_server: Sshd) -> None:
    name = f".berth-test-{os.getpid()}"
    hosts = Hosts({"box": over_ssh(ssh_server, f"{name}/work")})
    host = await hosts.writer("box", quiet)
    home = Path((await host.facts()).home)
    assert (home / name / "work").is_dir()
    await hosts.close()
    (home / name).rmdir()


async def test_facts_of_all_hosts_and_why_one_gives_none(ssh_server: Sshd, own_ssh_server: Sshd) -> None:
    own_ssh_server.stop()
    settings = {"there": over_ssh(ssh_server, "/srv"), "gone": over_ssh(own_ssh_server, "/srv")}
    hosts = Hosts({**settings, "here": HostSettings(connection="local", workspace="/srv")})
    facts = await gather_all([hosts.reader(name) for name in ("there", "gone", "here")])
    there, here = (HostFacts.model_validate_json(facts[name]["facts"]) for name in ("there", "here"))
    assert there.model_copy(update={"gathered": here.gathered, "disks": here.disks, "ports": here.ports}) == here
    assert list(facts["gone"]) == ["problem"]
    assert facts["gone"]["problem"].startswith("gone: ssh ")
    with pytest.raises(Unreachable, match="nothing listens there"):
        await hosts.writer("gone", quiet)
    await hosts.close()


async def test_twenty_hosts_behind_one_sshd_are_all_let_in(own_ssh_server: Sshd) -> None:
    """Its MaxStartups, 10 by default, drops at random what logs in at the same time beyond that."""
    names = [f"box-{number}" for number in range(20)]
    hosts = Hosts({name: over_ssh(own_ssh_server, "/srv") for name in names})
    facts = await gather_all([hosts.reader(name) for name in names])
    assert [fact.get("problem") for fact in facts.values()] == [None] * 20
    await hosts.close()
