"""Packages and repositories with real apt and dpkg, on a machine and in a repository of these tests."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from berth.provider.errors import BadInput, ProviderError
from berth.provider.host import Host
from berth.provider.operations.package_repository import PackageRepository, PackageRepositoryWant
from berth.provider.operations.packages import Packages, PackagesWant
from tests.machines.connection import MachineConnection
from tests.machines.machine import Machine
from tests.machines.published import Package, Published

pytestmark = pytest.mark.systemd

PACKAGES = Packages()
REPOSITORY = PackageRepository()


@dataclass
class Box:
    """A machine with a repository that it knows."""

    machine: Machine
    published: Published
    said: list[str] = field(default_factory=list)

    @property
    def host(self) -> Host:
        """The host, with facts of its own."""
        return Host(name="box", workspace="/root", connection=MachineConnection(self.machine), say=self.said.append)

    def sh(self, script: str, *arguments: str) -> str:
        """What a person would type there."""
        ran = self.machine.run(["sh", "-euc", script, "hand", *arguments], timeout_s=60)
        assert ran.code == 0, ran.out + ran.err
        return ran.out.strip()

    def status(self, name: str) -> str:
        """What dpkg says of a package."""
        said = self.sh('dpkg-query -W -f "$2" "$1" 2> /dev/null || :', name, "${Version} ${Status}")
        return "" if "not-installed" in said or "config-files" in said else said

    def repository(self, **more: Any) -> PackageRepositoryWant:
        """The repository as a stack would declare it."""
        published = self.published
        plain = {
            **{"host": "box", "manager": "apt", "name": published.name, "uris": [published.uri], "suites": ["/"]},
            **{"fingerprint": published.fingerprint},
            **({} if "key" in more else {"key_url": f"{published.uri}key.asc"}),
        }
        return PackageRepositoryWant.model_validate({**plain, **more})

    def packages(self, packages: dict[str, str], **more: Any) -> PackagesWant:
        """A set of packages."""
        plain = {"host": "box", "manager": "apt", "name": "it", "packages": packages, **more}
        return PackagesWant.model_validate(plain)


@pytest.fixture(scope="module")
def quick_machine(systemd_machine: Machine) -> Iterator[Machine]:
    """The machine without Debian's own packages in its index, which make each apt take seconds."""
    away = "mv /etc/apt/sources.list /root/sources.list; mv /var/lib/apt/lists /root/lists"
    back = "mv /root/sources.list /etc/apt/; rm -rf /var/lib/apt/lists; mv /root/lists /var/lib/apt/"
    assert systemd_machine.run(["sh", "-euc", away]).code == 0
    yield systemd_machine
    assert systemd_machine.run(["sh", "-euc", back]).code == 0


PUBLISHED = (
    *(Package("berth-foo", version) for version in ("580.1", "580.2", "590.1")),
    Package("berth-tool", "1"),
    Package("berth-bar", "1", ["Conflicts: berth-foo"]),
    Package("berth-sick", "1", script="test -e /run/berth-test-go"),
    Package("berth-lonely", "1", ["Depends: berth-nowhere"]),
    Package("berth-slow", "1", script="while [ ! -e /run/berth-test-go ]; do sleep 0.1; done"),
)


@pytest.fixture(scope="module")
def known(quick_machine: Machine) -> Iterator[Published]:
    """A repository that the machine knows."""
    published = Published(quick_machine, "known")
    published.publish(*PUBLISHED)
    box = Box(quick_machine, published)
    asyncio.run(declared(box))
    yield published
    box.sh(_FORGET, published.name)


@pytest.fixture
def box(quick_machine: Machine, known: Published) -> Iterator[Box]:
    """The machine without packages of these tests."""
    made = Box(quick_machine, known)
    yield made
    made.sh(_LEAVE)


@pytest.fixture
def stranger(quick_machine: Machine) -> Iterator[Box]:
    """The machine with a repository that it does not know yet."""
    published = Published(quick_machine, f"r{uuid.uuid4().hex[:8]}")
    published.publish(Package("berth-new", "1"))
    made = Box(quick_machine, published)
    yield made
    made.sh(_FORGET, published.name)


_LEAVE = """
rm -f /run/berth-test-go
names=$(dpkg-query -W -f '${Package} ' 'berth-*' 2> /dev/null) || :
if [ -n "$names" ]; then apt-mark unhold $names; dpkg --purge --force-all $names; fi > /dev/null 2>&1
"""

_FORGET = """
rm -f /etc/apt/sources.list.d/*"$1"* /etc/apt/keyrings/"$1"* /etc/apt/sources.list.d/earlier*
"""


async def declared(box: Box, **more: Any) -> PackageRepositoryWant:
    """The repository, known to the machine."""
    want = box.repository(**more)
    await REPOSITORY.converge(box.host, want, want)
    return want


async def problem(box: Box, want: PackageRepositoryWant | PackagesWant) -> str:
    """What `up` says of something that cannot be."""
    operation: Any = REPOSITORY if isinstance(want, PackageRepositoryWant) else PACKAGES
    with pytest.raises(ProviderError) as caught:
        await operation.converge(box.host, want, want)
    return str(caught.value)


async def test_a_repository_whose_key_the_host_fetches_is_added_once_and_seen_when_it_is_changed(stranger: Box) -> None:
    want = await declared(stranger)
    assert "berth-new" in stranger.sh("apt-cache madison berth-new")
    stranger.said.clear()
    assert await REPOSITORY.converge(stranger.host, want, want) == want
    assert stranger.said == []
    stranger.sh('sed -i "s/^Suites.*/Suites: other/" "$1"; rm "$2"', want.path, want.key_path)
    seen = await REPOSITORY.observe(stranger.host, want)
    assert REPOSITORY.differing(want, seen) == ["fingerprint", "suites[0]"]
    await REPOSITORY.converge(stranger.host, want, want)
    removed = want.model_copy(update={"on_destroy": "remove"})
    await REPOSITORY.converge(stranger.host, None, removed)
    assert await REPOSITORY.observe(stranger.host, want) is None


async def test_only_what_is_meant_comes_before_the_packages_of_others(stranger: Box, known: Published) -> None:
    """`berth-tool` is in both; 580 is what a package that pins a branch keeps, whatever else is newer."""
    assert known.name in stranger.sh("ls /etc/apt/sources.list.d")
    theirs = (Package("berth-tool", "9"), Package("berth-foo", "580.3"), Package("berth-foo", "600.1"))
    stranger.published.publish(*theirs, label="NVIDIA CUDA")
    want = await declared(stranger, label="NVIDIA CUDA", first=["berth-foo*"])
    candidate = "apt-cache policy {} | sed -n 's/.*Candidate: //p'"
    assert stranger.sh(candidate.format("berth-tool")) == "1"
    assert stranger.sh(candidate.format("berth-foo")) == "600.1"
    pinning = "/etc/apt/preferences.d/nvidia-driver-pinning"
    stranger.sh('printf "Package: berth-foo*\nPin: version 580.*\nPin-Priority: 1000\n" > "$1"', pinning)
    assert stranger.sh(candidate.format("berth-foo")) == "580.3"
    stranger.sh('rm "$1"; echo "Package: *" > "$2"', pinning, want.pin_path)
    assert REPOSITORY.differing(want, await REPOSITORY.observe(stranger.host, want)) == ["pin"]
    await REPOSITORY.converge(stranger.host, want, want)
    await REPOSITORY.converge(stranger.host, None, want.model_copy(update={"on_destroy": "remove"}))
    assert stranger.sh("ls /etc/apt/preferences.d") == ""


async def test_a_key_of_another_fingerprint_is_refused_and_nothing_is_written(stranger: Box) -> None:
    other = "A" * 40
    want = stranger.repository(fingerprint=other)
    said = await problem(stranger, want)
    assert f"key.asc holds {stranger.published.fingerprint}, must hold {other}; nothing was changed" in said
    assert await REPOSITORY.observe(stranger.host, want) is None
    given = stranger.repository(key=stranger.published.armoured, fingerprint=other)
    with pytest.raises(
        BadInput, match=f"the text of its key holds {stranger.published.fingerprint}, must hold {other}"
    ):
        await REPOSITORY.preflight(stranger.host, given)


async def test_an_entry_of_an_earlier_guide_is_named_and_goes_only_when_it_is_declared(stranger: Box) -> None:
    earlier = "/etc/apt/sources.list.d/earlier.list"
    stranger.sh('echo "deb [trusted=yes] $1 /" > "$2"', stranger.published.uri.rstrip("/"), earlier)
    assert f"{earlier} declares it as well, must be the only one" in await problem(stranger, stranger.repository())
    await declared(stranger, obsolete=[earlier])
    assert stranger.sh("ls /etc/apt/sources.list.d | grep earlier") == "earlier.list.save"


async def test_why_an_index_cannot_be_had_is_said_and_the_entry_is_not_left(stranger: Box) -> None:
    assert "the repository has no such file" in await problem(stranger, stranger.repository(suites=["none/"]))
    stranger.published.publish(at=datetime.now(UTC) + timedelta(days=2))
    assert "by this host's clock the repository is" in await problem(stranger, stranger.repository())
    Published(stranger.machine, stranger.published.name).publish()
    given = stranger.repository(key=stranger.published.armoured)
    assert "what the repository signed does not fit the key" in await problem(stranger, given)
    silent = stranger.repository(key=stranger.published.armoured, uris=["http://127.0.0.1:9/x/"])
    assert "this host does not reach the repository" in await problem(stranger, silent)
    assert stranger.sh('ls /etc/apt/sources.list.d | grep -F "$1" || :', stranger.published.name) == ""


async def test_versions_and_holds_are_made_kept_and_seen(box: Box) -> None:
    want = box.packages({"berth-foo": "580.*", "berth-tool": "any"}, hold=True)
    await PACKAGES.converge(box.host, want, want)
    assert box.status("berth-foo") == "580.2 hold ok installed"
    box.said.clear()
    assert await PACKAGES.converge(box.host, want, want) == want
    assert box.said == []
    assert "Inst berth-foo" not in box.sh("apt-get -s -y dist-upgrade")
    exact = box.packages({"berth-foo": "580.1"}, hold=True)
    await PACKAGES.converge(box.host, exact, exact)
    assert box.status("berth-foo") == "580.1 hold ok installed"
    box.sh("apt-mark unhold berth-foo; apt-get -y install berth-foo")
    seen = await PACKAGES.observe(box.host, exact)
    assert PACKAGES.differing(exact, seen) == ["hold", 'packages["berth-foo"]']
    refused = await problem(box, want)
    assert "these would become older: berth-foo; declare one exact version of each" in refused
    none = box.packages({"berth-foo": "700.*"})
    assert "no repository of this host has it in this version" in await problem(box, none)


async def test_what_conflicts_goes_only_when_it_is_declared_absent(box: Box) -> None:
    first = box.packages({"berth-foo": "any"})
    await PACKAGES.converge(box.host, first, first)
    assert "refused, since apt would remove: berth-foo" in await problem(box, box.packages({"berth-bar": "any"}))
    want = box.packages({"berth-bar": "any", "berth-foo": "absent"})
    await PACKAGES.converge(box.host, want, want)
    assert "installing berth-bar; removing berth-foo" in box.said
    assert (box.status("berth-foo"), box.status("berth-bar")) == ("", "1 install ok installed")
    held = box.packages({"berth-bar": "2"})
    box.sh("apt-mark hold berth-bar")
    assert "held by somebody else: berth-bar at 1; must be 2" in await problem(box, held)


async def test_another_apt_at_work_is_waited_for_by_its_name(box: Box) -> None:
    want = box.packages({"berth-foo": "any"})
    locking = (
        "\nimport fcntl, sys; file = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print(flush=True); sys.stdin.read()"
    )
    argv = box.machine.engine.argv("exec", "--interactive", box.machine.name, "python3", "-c", locking)
    holder = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    await holder.stdout.readline()
    converging = asyncio.create_task(PACKAGES.converge(box.host, want, want))
    await until(lambda: any(line.startswith("waiting for python3 -c  import fcntl") for line in box.said))
    assert box.status("berth-foo") == ""
    holder.stdin.close()
    await converging
    await holder.wait()
    waiting = next(line for line in box.said if line.startswith("waiting for python3"))
    assert "to let go of /var/lib/dpkg/lock-frontend, 0 of 600 s" in waiting


async def test_a_package_whose_script_failed_is_said_seen_and_repaired_first(box: Box) -> None:
    sick = box.packages({"berth-sick": "any"})
    assert "a script of a package failed; the last lines are its own" in await problem(box, sick)
    want = box.packages({"berth-foo": "any"})
    seen = await PACKAGES.observe(box.host, want)
    assert seen is not None
    assert seen.broken == ["berth-sick"]
    box.sh("touch /run/berth-test-go")
    box.said.clear()
    await PACKAGES.converge(box.host, want, want)
    assert box.said[0] == "finishing interrupted installations (dpkg --configure -a): berth-sick"
    assert box.status("berth-sick") == "1 install ok installed"
    assert await PACKAGES.observe(box.host, sick) == sick


async def test_a_repair_that_would_remove_others_is_refused_by_their_names(box: Box) -> None:
    assert "a script of a package failed" in await problem(box, box.packages({"berth-sick": "any"}))
    box.sh("touch /run/berth-test-go; dpkg --force-depends -i /srv/published/known/berth-lonely_1_all.deb")
    said = await problem(box, box.packages({"berth-foo": "any"}))
    assert "refused, since finishing would remove or take back: berth-lonely; look at" in said
    assert box.status("berth-lonely") == "1 install ok installed"
    box.sh("dpkg --purge berth-lonely")


async def test_an_installation_outlives_its_update_and_the_next_one_waits_for_it(box: Box) -> None:
    want = box.packages({"berth-slow": "any", "berth-foo": "any"}, hold=True)
    converging = asyncio.create_task(PACKAGES.converge(box.host, want, want))
    await until(lambda: any("Setting up berth-slow" in line for line in box.said))
    converging.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await converging
    box.said.clear()
    again = asyncio.create_task(PACKAGES.converge(box.host, want, want))
    await until(lambda: any(line.startswith("waiting for apt-get") for line in box.said))
    box.sh("touch /run/berth-test-go")
    assert await again == want
    assert box.status("berth-slow") == "1 hold ok installed"
    assert box.sh("ls /run/berth.* 2> /dev/null || :") == ""


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what the machine does."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.05)
