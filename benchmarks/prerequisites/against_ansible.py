"""Times the prerequisites of GPU machines beside ansible-core: the first application, and the check of nothing to do.

Usage:  python -m benchmarks.prerequisites.against_ansible [HOSTS] [--breakages]
        (two hosts by default; needs root, and Debian's packages)

With --breakages it also breaks the first machine of each side by hand, in the ways of tests/e2e/prerequisites, and
prints what each side notices when it checks.

Both sides make a fresh machine ready over SSH, with the same repositories, packages and settings: ours from a stack
file, Ansible's from `playbook.yml` beside this file, at its best: pipelining, one master connection for each host, as
many forks as hosts. The check of nothing to do is of that machine and copies of its disk. The machines are containers
with systemd, sshd and sudo on this machine (tests/machines), so that both sides share its processors with what they
look at. Each figure stands beside the load of this machine at that moment (processes that run or want to, on average
over the last minute), which on a quiet one is that of the work itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]

from prerequisites.breakages import BREAKAGES  # noqa: E402 -- lies beside the end-to-end tests
from prerequisites.playground import USER, write_stack  # noqa: E402 -- as above
from project import Project  # noqa: E402 -- as above

from berth.planner.plan import HostPlan  # noqa: E402 -- as above
from berth.planner.planning import plan as decide  # noqa: E402 -- as above
from berth.spec import load  # noqa: E402 -- as above
from tests.machines.engine import Engine, cache_folder, docker_engine  # noqa: E402 -- as above
from tests.machines.kinds import DEBIAN_13_SERVER  # noqa: E402 -- as above
from tests.machines.repository.local import CUDA, DOCKER, TOOLKIT, LocalRepository, local_repository  # noqa: E402 -- as above
from tests.sshd.machine import SshMachine, start  # noqa: E402 -- as above

ANSIBLE = "ansible-core==2.19.14"
PLAYBOOK = Path(__file__).with_name("playbook.yml")
ROUNDS = 3
FIRST, NOTHING = "first application", "nothing to do"
REPOSITORIES = {"nvidia": CUDA, "docker": DOCKER, "container_toolkit": TOOLKIT}


def main(count: int, *, breakages: bool, rounds: int = ROUNDS) -> Mapping[str, float]:
    """Prints both sides' times and what each notices; returns how many times theirs is of ours, by what is timed.

    The check is timed so many rounds, of which the median counts, and of two the better one.
    """
    with docker_engine() as engine, tempfile.TemporaryDirectory(prefix="berth-") as folder:
        repository = local_repository(engine)
        with _machines(engine, repository) as ours, _machines(engine, repository) as theirs:
            berth = Berth(Path(folder), ours.started, repository)
            ansible = Ansible(Path(folder), theirs.started, berth, repository)
            first = {"berth": _timed("berth up", berth.up), "ansible": _timed("playbook", ansible.apply)}
            print(f"resources of ours {berth.resources()}, tasks of the playbook {ansible.tasks()}, for each machine")
            ratios = {FIRST: _print(FIRST, 1, first)}
            if count > 1:
                berth.describe(ours.copy(count - 1))
                ansible.describe(theirs.copy(count - 1))
                _timed("berth up", berth.up)
                _timed("playbook", ansible.apply)
            ratios[NOTHING] = _compare(berth, ansible, count, rounds)
            if breakages:
                _break(berth, ours.started[0], ansible, theirs.started[0])
    return ratios


def _compare(berth: Berth, ansible: Ansible, count: int, rounds: int) -> float:
    times: dict[str, list[tuple[float, float]]] = {"berth": [], "ansible": []}
    for _ in range(rounds):  # in turn, so that a slow spell of the machine meets both
        times["berth"].append(_timed("berth preview", berth.unchanged))
        times["ansible"].append(_timed("playbook --check", ansible.unchanged))
    return _print(NOTHING, count, {side: sorted(took)[(rounds - 1) // 2] for side, took in times.items()})


def _print(what: str, count: int, took: Mapping[str, tuple[float, float]]) -> float:
    said = [f"{side} {seconds:7.1f} s (load {load:4.1f})" for side, (seconds, load) in took.items()]
    ratio = took["ansible"][0] / took["berth"][0]
    machines = "1 machine" if count == 1 else f"{count} machines"
    print(f"{what:18} {machines:12} {'   '.join(said)}   ratio {ratio:.1f}", flush=True)
    return ratio


def _break(berth: Berth, ours: SshMachine, ansible: Ansible, theirs: SshMachine) -> None:
    """Breaks one thing after the other on both sides and repairs it."""
    print(f"\n{'broken by hand':70} berth     ansible")
    for one in BREAKAGES:
        seen = {}
        for side, machine in (("berth", ours), ("ansible", theirs)):
            ran = machine.machine.run(["sh", "-euc", one.hand], timeout_s=120)
            assert ran.code == 0, f"{side}: {one.name}: {ran.err}"
            noticed = berth.notices(f"m0-{one.resource}") if side == "berth" else bool(ansible.check(failures=True))
            seen[side] = "noticed" if noticed else "-"
        print(f"{one.name:70} {seen['berth']:9} {seen['ansible']}", flush=True)
        berth.up()
        ansible.apply()


class Berth:
    """Our side: one stack with all machines as its hosts."""

    def __init__(self, folder: Path, machines: Sequence[SshMachine], repository: LocalRepository) -> None:
        cli = subprocess.run(
            [sys.executable, "-m", "bootstrap", "pulumi"], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        self.project = Project.copy(folder / "project", Path(cli.stdout.decode().strip()))
        self.repository = repository
        self.describe(machines)

    def describe(self, machines: Sequence[SshMachine]) -> None:
        """Writes the stack of these machines."""
        self.count = len(machines)
        hosts = {f"m{index}": one for index, one in enumerate(machines)}
        write_stack(self.project, "many", hosts, self.repository)

    def up(self) -> None:
        """Makes all machines ready."""
        self.project.up("many").ok()

    def unchanged(self) -> None:
        """Checks all machines; fails where one is not as declared."""
        self.project.unchanged("many").ok()

    def notices(self, resource: str) -> bool:
        """Whether a check names this resource as one that differs."""
        done = self.project.unchanged("many")
        return done.status != 0 and resource in done.output

    def resources(self) -> int:
        """How many things of a host's prerequisites are declared."""
        state = json.loads(self.project.state("many"))["checkpoint"]["latest"]["resources"]
        mine = [one["urn"] for one in state if "HostPrerequisites$" in one["urn"]]
        return len(mine) // self.count

    def planned(self) -> HostPlan:
        """The plan of the first machine, from the facts that the update kept."""
        from berth.facts import HostFacts  # noqa: PLC0415 -- beside its one use

        found = next((self.project.root / ".berth" / "facts" / "many").glob("m0.json"))
        facts = HostFacts.model_validate(json.loads(found.read_text()))
        stack = load(self.project.root / "stacks" / "many.yaml")
        return decide(stack, "many", facts={"m0": facts}).hosts["m0"]


class Ansible:
    """Their side: one inventory with all machines."""

    def __init__(self, folder: Path, machines: Sequence[SshMachine], berth: Berth, repository: LocalRepository) -> None:
        self.folder, self.berth, self.repository = folder / "ansible", berth, repository
        self.folder.mkdir()
        self.program = _ansible()
        self.describe(machines)

    def describe(self, machines: Sequence[SshMachine]) -> None:
        """Writes the inventory of these machines."""
        hosts = {f"m{index}": _inventory(machine) for index, machine in enumerate(machines)}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        known = [f"[{machine.address}]:{machine.port} {machine.host_key}\n" for machine in machines]
        (self.folder / "known_hosts").write_text("".join(known))
        (self.folder / "ansible.cfg").write_text(
            f"[defaults]\nforks = {max(len(machines), 5)}\ninterpreter_python = /usr/bin/python3\n"
            "[ssh_connection]\npipelining = true\n"
            f"ssh_args = -o ControlMaster=auto -o ControlPersist=600s -o UserKnownHostsFile={self.folder}/known_hosts\n"
            f"control_path_dir = {self.folder.parent}/c\n"
        )

    def apply(self) -> None:
        """Makes all machines ready."""
        if not (self.folder / "variables.json").exists():
            self._variables()
        self._play()

    def unchanged(self) -> None:
        """Checks all machines; fails where one is not as the playbook says."""
        assert self.check() == 0, "the playbook is not idempotent: the comparison would be unfair to it"

    def check(self, *, failures: bool = False) -> int:
        """How many tasks of all machines would change something, or with `failures` cannot even be tried."""
        said = self._play("--check", failures=failures)
        counts = [word.split("=") for line in said.splitlines() if "changed=" in line for word in line.split()[2:]]
        return sum(int(count) for what, count in counts if what in {"changed", "failed", "unreachable"})

    def tasks(self) -> int:
        """How many tasks the playbook has, handlers and gathering left out."""
        return len(yaml.safe_load(PLAYBOOK.read_text())[0]["tasks"])

    def _variables(self) -> None:
        """The plan's own names, so that both sides install the same."""
        plan = self.berth.planned().prerequisites
        assert plan is not None
        assert plan.driver is not None
        assert plan.docker is not None
        assert plan.toolkit is not None
        repositories = {
            one.owner: {
                "name": one.name,
                "uri": one.uri,
                "suite": one.suite,
                "components": list(one.components),
                "architecture": one.architecture,
                "key": self.repository.key(REPOSITORIES[one.owner]),
            }
            for one in plan.repositories
        }
        docker = plan.docker.packages.packages
        variables: dict[str, Any] = {
            "repositories": repositories,
            "obsolete": [path for one in plan.repositories for path in one.obsolete],
            "docker_absent": [name for name, version in docker.items() if version == "absent"],
            "docker_packages": [name for name, version in docker.items() if version != "absent"],
            "toolkit_packages": list(plan.toolkit.packages.packages),
            "driver_pinning": plan.driver.pinning,
            "driver_packages": list(plan.driver.packages),
            "settings": dict(plan.daemon),
            "limits": dict(plan.limits),
        }
        (self.folder / "variables.json").write_text(json.dumps(variables))

    def _play(self, *more: str, failures: bool = False) -> str:
        done = subprocess.run(
            [self.program, "--inventory", "hosts.yml", "--extra-vars", "@variables.json", *more, str(PLAYBOOK)],
            cwd=self.folder,
            env={**os.environ, "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert failures or done.returncode == 0, done.stdout[-4000:] + done.stderr
        return done.stdout


@dataclass
class Machines:
    """Machines of one side: a fresh one, and copies of its disk as it was made."""

    engine: Engine
    repository: LocalRepository
    started: list[SshMachine]

    def copy(self, count: int) -> Sequence[SshMachine]:
        """Starts copies of the first one; returns all."""
        image = f"{self.started[0].machine.name}-copy"
        self.engine.out("commit", self.started[0].machine.name, image)
        for _ in range(count):
            self.start(image)
        return self.started

    def start(self, image: str | None = None) -> None:
        """Starts one."""
        served = self.repository.served
        self.started.append(start(self.engine, DEBIAN_13_SERVER, hardware="rtx5090", repository=served, image=image))


@contextmanager
def _machines(engine: Engine, repository: LocalRepository) -> Iterator[Machines]:
    """One fresh machine; it and its copies are gone at the end."""
    machines = Machines(engine, repository, [])
    try:
        machines.start()
        yield machines
    finally:
        for one in machines.started:
            one.machine.remove()
        engine.run("image", "rm", "--force", *(f"{one.machine.name}-copy" for one in machines.started[:1]))


def _inventory(machine: SshMachine) -> dict[str, Any]:
    return {
        "ansible_host": machine.address,
        "ansible_port": machine.port,
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(machine.key),
    }


def _ansible() -> str:
    """ansible-playbook in an environment of its own, made once."""
    folder = cache_folder() / "test-envs" / ANSIBLE.replace("==", "-")
    if not (folder / "bin" / "ansible-playbook").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", str(folder)], check=True)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), ANSIBLE], check=True)
    return str(folder / "bin" / "ansible-playbook")


def _timed(what: str, work: Callable[[], object]) -> tuple[float, float]:
    """How many seconds it took, and the load of this machine at its end; said on stderr at once."""
    begin = time.monotonic()
    work()
    took, load = time.monotonic() - begin, os.getloadavg()[0]
    print(f"  {what}: {took:.1f} s (load {load:.1f})", file=sys.stderr, flush=True)
    return took, load


if __name__ == "__main__":
    # As a shell's background job ignores it, and so do Pulumi's plugins, which are ended by it: 5 s at each run.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    numbers = [word for word in sys.argv[1:] if word.isdigit()]
    main(int(numbers[0]) if numbers else 2, breakages="--breakages" in sys.argv)
