"""Engines in containers on a real Docker engine: started, watched, changed, broken by hand, removed."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import tempfile
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from berth.planner.facts import without_own
from berth.provider.connection.local import LocalConnection
from berth.provider.docker import manager
from berth.provider.docker.container import Container
from berth.provider.errors import BadInput, StartFailed
from berth.provider.replica import ReplicaWant
from tests.machines.engine import NVIDIA_ASKED, Engine
from tests.machines.engine_image import engine_image
from tests.ports import free_port
from tests.provider.operations.site import REPLICA, Site, configured, site, until

pytestmark = pytest.mark.docker

LOGIN = 12345
"""A login that is neither root nor anybody whom an image knows."""


class Box(Site):
    """A host whose engines run in containers."""

    engine: Engine
    image: str

    def boxed(self, name: str = "one", **more: Any) -> ReplicaWant:
        """A stand-in engine in a container."""
        container = more.pop("container", {})
        made = self.replica(name, environment="", **more)
        return made.model_copy(
            update={"container": Container(**{"image": self.image, "port": made.port, "inside": 8000, **container})}
        )

    def name(self, want: ReplicaWant) -> str:
        return f"{want.unit_prefix}-{want.name}"

    def inspect(self, want: ReplicaWant, what: str) -> str:
        return self.engine.out("container", "inspect", "--format", what, self.name(want))

    def logs(self, want: ReplicaWant) -> str:
        done = self.engine.run("logs", self.name(want))
        return (done.stdout + done.stderr).decode()

    def here(self) -> list[str]:
        """All containers of this site, whatever they are called."""
        prefix = self.supervision["unit_prefix"]
        listed = self.engine.out("ps", "--all", "--filter", f"label=dev.berth.stack={prefix}", "--format", "{{.Names}}")
        return sorted(listed.split())

    async def answers(self, want: ReplicaWant) -> bool:
        said = await self.sh(
            'curl -s -m 5 -o /dev/null -w "%{http_code}" "$1" || :', f"http://127.0.0.1:{want.port}/health"
        )
        return said == "200"


@pytest.fixture
async def box(docker: Engine) -> AsyncIterator[Box]:
    with tempfile.TemporaryDirectory(prefix="berth-") as folder:
        supervision = {"init": "systemd", "unit_prefix": f"berth-test-{uuid.uuid4().hex[:6]}"}
        async with site(LocalConnection("box"), f"{folder}/work", "/usr/bin/python3", supervision) as made:
            made.__class__ = Box
            assert isinstance(made, Box)
            made.engine, made.image = docker, engine_image(docker)
            try:
                yield made
            finally:
                for name in made.here():
                    docker.run("rm", "--force", name)


async def up(box: Box, want: ReplicaWant) -> None:
    await REPLICA.converge(box.host, want, want)
    assert await REPLICA.observe(box.host, want) == want


async def test_it_starts_answers_and_says_what_it_is(box: Box) -> None:
    want = box.boxed(arguments={"max_model_len": 512}, locks=["/run/lock/berth-test.lock"])
    want = want.model_copy(
        update={"container": want.container.model_copy(update={"labels": {"dev.berth.model": "one"}})}
    )
    assert await REPLICA.observe(box.host, want) is None
    await up(box, want)
    assert await box.answers(want)
    assert any("loading weights" in line or "profiling" in line for line in box.said), box.said
    assert box.inspect(want, '{{index .Config.Labels "dev.berth.model"}}') == "one"
    assert box.inspect(want, "{{.HostConfig.RestartPolicy.Name}}") == "unless-stopped"
    assert json.loads(box.inspect(want, "{{json .HostConfig.LogConfig.Config}}")) == {
        "max-file": "4",
        "max-size": "50m",
    }
    assert box.inspect(want, "{{json .HostConfig.PortBindings}}").count('"127.0.0.1"') == 1
    assert "has its turn" in box.logs(want)
    assert "giving up its turn: ready" in box.logs(want)
    assert (await REPLICA.outputs(box.host, want))["pid"] == int(box.inspect(want, "{{.State.Pid}}"))
    await REPLICA.converge(box.host, None, want)
    assert await REPLICA.observe(box.host, want) is None
    assert box.here() == []
    assert await box.sh('ls "$1" 2> /dev/null || :', want.folder) == ""


async def test_a_changed_argument_is_named_and_replaces_the_container(box: Box) -> None:
    want = box.boxed(arguments={"max_model_len": 512})
    await up(box, want)
    before = box.inspect(want, "{{.Id}}")
    changed = want.model_copy(update={"arguments": {"max_model_len": 256}})
    assert REPLICA.differing(changed, await REPLICA.observe(box.host, changed)) == ["arguments.max_model_len"]
    await up(box, changed)
    assert box.inspect(want, "{{.Id}}") != before
    assert len(box.here()) == 1


async def test_a_surge_is_a_second_container_for_as_long_as_it_lasts(box: Box) -> None:
    want = box.boxed(arguments={"max_model_len": 512}, spare_port=free_port(), on_change="surge", prompts=["Hello"])
    await up(box, want)
    before = box.inspect(want, "{{.Id}}")
    changed = want.model_copy(update={"arguments": {"max_model_len": 256}})
    box.said.clear()
    await up(box, changed)
    assert "one-spare: asking it" in box.said
    assert box.said.index("one-spare: asking it") < box.said.index("stopping one")
    assert box.inspect(want, "{{.Id}}") != before
    assert box.here() == [box.name(want)]
    broken = changed.model_copy(update={"variables": configured(broken=1)})
    with pytest.raises(StartFailed, match="one-spare started and failed its smoke test"):
        await REPLICA.converge(box.host, broken, broken)
    assert box.here() == [box.name(want)]
    assert await REPLICA.observe(box.host, changed) == changed


async def test_what_a_hand_did_to_it_shows_and_is_mended(box: Box) -> None:
    want = box.boxed()
    await up(box, want)
    name, prefix = box.name(want), ("--label", f"dev.berth.service={box.name(want)}")
    hands: dict[str, tuple[list[list[str]], list[str]]] = {
        "stopped": ([["stop", "--time", "1", name]], ["state"]),
        "removed": ([["rm", "--force", name]], ["state"]),
        "paused": ([["pause", name]], ["state"]),
        "limited": ([["update", "--memory", "512m", "--memory-swap", "512m", name]], ["state"]),
        "renamed": ([["rename", name, f"{name}-other"]], ["state"]),
        "another of its name": (
            [["rm", "--force", name], ["run", "--detach", "--name", name, *prefix, box.image, "--version"]],
            ["state"],
        ),
    }
    for hand, (commands, seen) in hands.items():
        for command in commands:
            box.engine.out(*command)
        assert REPLICA.differing(want, await REPLICA.observe(box.host, want)) == seen, hand
        await up(box, want)
        assert await box.answers(want), hand
        assert [one for one in box.here() if one != name] == [], hand


async def test_files_of_another_version_are_written_without_a_restart(box: Box) -> None:
    want = box.boxed()
    await up(box, want)
    before = box.inspect(want, "{{.State.StartedAt}}")
    await box.sh('echo "# a hand" >> "$1/runner.sh"', want.folder)
    assert REPLICA.differing(want, await REPLICA.observe(box.host, want)) == ["definition"]
    await up(box, want)
    assert box.inspect(want, "{{.State.StartedAt}}") == before


async def test_a_container_that_was_half_made_is_made_again(box: Box) -> None:
    want = box.boxed()
    await up(box, want)
    await box.sh('rm "$1/made"; rm -r "$1/state"', want.folder)
    await up(box, want)
    assert len(box.here()) == 1


async def test_a_failed_start_says_why_and_leaves_none_behind(box: Box) -> None:
    want = box.boxed(variables=configured(fail="ValueError: No available memory for the cache blocks."))
    begin = asyncio.get_running_loop().time()
    with pytest.raises(
        StartFailed, match=r"(?s)nothing of the engine's share is left.*docker logs .*No available memory"
    ):
        await REPLICA.converge(box.host, want, want)
    assert asyncio.get_running_loop().time() - begin < 10
    assert box.here() == []


async def test_a_failed_change_brings_the_old_one_back(box: Box) -> None:
    want = box.boxed()
    await up(box, want)
    broken = want.model_copy(update={"variables": configured(fail="RuntimeError: no")})
    with pytest.raises(StartFailed):
        await REPLICA.converge(box.host, broken, broken)
    assert await REPLICA.observe(box.host, want) == want
    assert await box.answers(want)


@pytest.mark.parametrize("image", ["", "flockless"])
async def test_an_image_that_cannot_be_started_ends_the_start(box: Box, image: str) -> None:
    """An image without the programs that the runner needs: a crash loop that no log of an engine explains."""
    if not image:
        image = f"berth-test-empty:{uuid.uuid4().hex[:6]}"
        empty = b"\0" * 10240
        assert box.engine.run("import", "-", image, stdin=empty).returncode == 0
    else:
        image = f"berth-test-flockless:{uuid.uuid4().hex[:6]}"
        made = box.engine.out("create", box.image)
        box.engine.out("commit", "--change", "ENV PATH=/nowhere", made, image)
        box.engine.out("rm", made)
    want = box.boxed(locks=["/run/lock/berth-test.lock"])
    want = want.model_copy(update={"container": want.container.model_copy(update={"image": image})})
    begin = asyncio.get_running_loop().time()
    with pytest.raises(Exception, match=r"/bin/sh|not found|did not start"):
        await REPLICA.converge(box.host, want, want)
    assert asyncio.get_running_loop().time() - begin < 20
    assert box.here() == []
    box.engine.run("rmi", "--force", image)


async def test_engines_of_one_card_start_one_after_the_other_whoever_starts_them(box: Box) -> None:
    lock = [f"/run/lock/berth-test-{uuid.uuid4().hex[:6]}.lock"]
    wants = [box.boxed(name, locks=lock, variables=configured(start_s=2)) for name in ("one", "two", "three")]
    await asyncio.gather(*(up(box, want) for want in wants))
    for want in wants:  # all at once, as after a crash of all: Docker starts them again by itself
        box.engine.out("exec", box.name(want), "sh", "-c", "kill -9 $(cut -d' ' -f1 \"$0/state/process\")", want.folder)
    for want in wants:
        await until(partial(_started, box, want, 2), 60)
    spans = sorted(
        (float(begin), float(end))
        for want in wants
        for begin, end in zip(
            re.findall(r"profiling begin (\S+)", box.logs(want)),
            re.findall(r"profiling end (\S+)", box.logs(want)),
            strict=True,
        )
    )
    assert len(spans) == 6
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans)), spans


async def _started(box: Box, want: ReplicaWant, times: int) -> bool:
    return box.logs(want).count("giving up its turn: ready") == times


async def test_a_port_that_something_else_has_is_named_before_anything_changes(box: Box) -> None:
    one = box.boxed("one")
    await up(box, one)
    await REPLICA.preflight(box.host, one)
    two = box.boxed("two", port=one.port)
    with pytest.raises(BadInput, match=rf"port {one.port} is used by the container {box.name(one)};"):
        await REPLICA.preflight(box.host, two)


async def test_mounts_are_where_they_belong(box: Box) -> None:
    folder = f"{box.root}/models/with, comma"
    await box.sh('mkdir -p "$1"; echo weights > "$1/x"', folder)
    mounts = ({"source": folder, "target": folder},)
    want = box.boxed(container={"mounts": mounts, "shared_memory": 2**26}, variables={"PLAIN": "a 'b' $c"})
    await up(box, want)
    inside = ("exec", box.name(want), "sh", "-c")
    assert box.engine.out(*inside, f'cat "{folder}/x"') == "weights"
    assert box.engine.run(*inside, f'touch "{folder}/y"').returncode != 0
    assert "65536" in box.engine.out(*inside, "df -k /dev/shm")
    assert Path(want.folder, "create").read_text().startswith("#!/bin/sh\n# Written by Berth")


async def test_what_it_holds_of_a_card_is_known_as_its_own(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = box.boxed()
    await up(box, want)
    pid = box.inspect(want, "{{.State.Pid}}")
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f'#!/bin/sh\ncase $* in *compute-apps*) echo "GPU-5b3e1a2c, {pid}, 1000" ;; esac\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    facts = await box.host.facts()
    assert [process.pid for process in facts.gpu_processes] == [int(pid)]
    prefix = box.supervision["unit_prefix"]
    assert without_own(facts, f"{box.root}/logs", prefix).gpu_processes == ()
    assert without_own(facts, f"{box.root}/logs", "berth-other").gpu_processes == facts.gpu_processes


async def test_a_card_is_asked_of_the_runtime_where_docker_knows_no_cdi(box: Box) -> None:
    if "nvidia" not in box.engine.out("info", "--format", "{{json .Runtimes}}"):
        pytest.skip("this Docker engine has no runtime nvidia, not even a stand-in")
    NVIDIA_ASKED.write_text("")
    want = box.boxed(container={"gpus": (0, 2)})
    await up(box, want)
    assert NVIDIA_ASKED.read_text().splitlines() == ["NVIDIA_VISIBLE_DEVICES=0,2"]
    assert box.inspect(want, "{{.HostConfig.Runtime}}") == "nvidia"
    stopped = ["stop", "--time", "1", box.name(want)]
    box.engine.out(*stopped)
    await up(box, want)
    assert box.inspect(want, "{{.HostConfig.Runtime}}") == "nvidia"


@pytest.mark.parametrize(
    ("user", "capabilities", "owner", "mode"),
    [
        pytest.param("", None, LOGIN, 0o755, id="root, who may write everywhere"),
        pytest.param("", ("SYS_ADMIN",), 0, 0o775, id="root without that right"),
        pytest.param("games:games", None, 5, 0o775, id="another user"),
        pytest.param(f"{LOGIN}", None, LOGIN, 0o755, id="the login itself"),
    ],
)
async def test_nobody_else_on_the_host_can_say_that_it_is_ready(
    box: Box, user: str, capabilities: tuple[str, ...] | None, owner: int, mode: int
) -> None:
    image = engine_image(box.engine, user=user)
    want = box.boxed(container={"image": image, "capabilities": capabilities}, locks=["/run/lock/berth-test.lock"])
    Path(want.folder).mkdir(parents=True)
    Path(box.root).parent.chmod(0o755)  # else nobody could get so far
    os.chown(want.folder, LOGIN, LOGIN)  # as a login that reaches Docker through sudo has it
    await up(box, want)
    assert await box.answers(want)
    state = Path(want.folder, "state").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (owner, LOGIN, mode)
    plant = 'setpriv --reuid=nobody --regid=nogroup --clear-groups touch "$1/state/planted" 2>&1 || :'
    assert "Permission denied" in await box.sh(plant, want.folder)
    box.engine.out("stop", "--time", "1", box.name(want))
    await up(box, want)
    remove = 'setpriv --reuid="$2" --regid="$2" --clear-groups rm "$1/state/ready" && echo gone'
    assert await box.sh(remove, want.folder, str(LOGIN)) == "gone"


async def test_nothing_in_it_gets_more_rights_than_it_was_started_with(box: Box) -> None:
    want = box.boxed()
    await up(box, want)
    assert box.inspect(want, "{{json .HostConfig.SecurityOpt}}") == '["no-new-privileges"]'
    assert "NoNewPrivs:\t1" in box.engine.out("exec", box.name(want), "sh", "-c", "cat /proc/1/status")
    label = box.inspect(want, '{{index .Config.Labels "dev.berth.definition"}}')
    box.engine.out("rm", "--force", box.name(want))
    by_hand = 'sed "s/--security-opt no-new-privileges//" "$1/create" | sh -s -- --label "dev.berth.definition=$2"'
    box.engine.out("start", await box.sh(by_hand, want.folder, label))
    await until(partial(box.answers, want))
    assert REPLICA.differing(want, await REPLICA.observe(box.host, want)) == ["state"]
    await up(box, want)
    assert box.inspect(want, "{{json .HostConfig.SecurityOpt}}") == '["no-new-privileges"]'


async def test_what_an_older_version_made_is_replaced_in_one_update(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    want = box.boxed()
    with monkeypatch.context() as older:
        older.setattr(manager, "_SEEN", manager._SEEN.replace(" {{json .HostConfig.SecurityOpt}}", ""))
        older.setattr(Container, "_rights", lambda _: iter(()))
        await up(box, want)
        await box.sh('chmod 0777 "$1/state"', want.folder)
    assert REPLICA.differing(want, await REPLICA.observe(box.host, want)) == ["definition", "state"]
    await up(box, want)
    assert Path(want.folder, "state").stat().st_mode & 0o777 == 0o755


async def test_a_secret_reaches_the_engine_and_nobody_else(box: Box) -> None:
    want = box.boxed(secrets={"MY_TOKEN": "s3cr3t'$(x)"})
    await up(box, want)
    assert "s3cr3t" not in box.engine.out("inspect", box.name(want))
    for file in ("run", "create", "made"):
        assert "s3cr3t" not in Path(want.folder, file).read_text()
    assert Path(want.folder, "secrets/MY_TOKEN").stat().st_mode & 0o777 == 0o600
    environment = box.engine.out(
        "exec", box.name(want), "sh", "-c", "cat /proc/[0-9]*/environ 2> /dev/null | tr '\\0' '\\n'"
    )
    assert "MY_TOKEN=s3cr3t'$(x)" in environment
    before = box.inspect(want, "{{.State.StartedAt}}")
    Path(want.folder, "secrets/MY_TOKEN").chmod(0o644)
    assert REPLICA.differing(want, await REPLICA.observe(box.host, want)) == ["definition"]
    await up(box, want)
    assert Path(want.folder, "secrets/MY_TOKEN").stat().st_mode & 0o777 == 0o600
    assert box.inspect(want, "{{.State.StartedAt}}") == before
    Path(want.folder, "secrets/MY_TOKEN").write_text("other")
    assert REPLICA.differing(want, await REPLICA.observe(box.host, want)) == ["secrets.MY_TOKEN"]
    changed = want.model_copy(update={"secrets": {"MY_TOKEN": "new"}})
    await up(box, changed)
    await up(box, want.model_copy(update={"secrets": {}}))
    assert not Path(want.folder, "secrets").exists()


async def test_a_secret_can_be_read_by_the_user_of_an_image(box: Box) -> None:
    image = engine_image(box.engine, user="games:games")
    want = box.boxed(secrets={"MY_TOKEN": "s3cr3t"}, locks=["/run/lock/berth-test.lock"], container={"image": image})
    await up(box, want)
    assert await box.answers(want)
    seen = box.engine.out("exec", box.name(want), "sh", "-c", "cat /proc/[0-9]*/environ 2> /dev/null | tr '\\0' '\\n'")
    assert "MY_TOKEN=s3cr3t" in seen
    file = Path(want.folder, "secrets/MY_TOKEN").stat()
    assert (file.st_mode & 0o777, file.st_uid) == (0o440, 5)
    before = box.inspect(want, "{{.State.StartedAt}}")
    Path(want.folder, "secrets/MY_TOKEN").chmod(0o444)
    assert (await REPLICA.observe(box.host, want)).definition == "secrets with another mode"
    await up(box, want)
    file = Path(want.folder, "secrets/MY_TOKEN").stat()
    assert (file.st_mode & 0o777, file.st_uid) == (0o440, 5)
    assert box.inspect(want, "{{.State.StartedAt}}") == before
    await REPLICA.converge(box.host, None, want)
    assert await box.sh('ls "$1" 2> /dev/null || :', want.folder) == ""
