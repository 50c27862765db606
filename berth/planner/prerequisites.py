"""What the stack file declares of a host, decided for the machine that was found there: repositories, packages, names.

Pure, and only for machines that were observed: names and versions follow from the system, the kernel and the cards.
What is not declared is only verified, in `berth.planner.readiness`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berth.catalogue import docker as known_docker
from berth.catalogue import operating_systems
from berth.catalogue.gpus import Gpu
from berth.facts import HostFacts
from berth.planner.driver import conflicts, driver
from berth.planner.machine import Machine
from berth.planner.notes import refusal, remark, warning
from berth.planner.plan import Note
from berth.planner.plan.prerequisites import (
    DockerPlan,
    Owner,
    PackagesPlan,
    PrerequisitesPlan,
    RepositoryPlan,
    ToolkitPlan,
)
from berth.spec.hosts import Host
from berth.spec.prerequisites import Prerequisites
from berth.spec.prerequisites import Repository as Override

_OUR_DOCKER = ("/etc/apt/sources.list.d/docker.sources", "/etc/yum.repos.d/docker.repo")
"""Where Docker's repository is once it was chosen: what somebody installs over it later is a change by hand."""

_APT_WORDS = {"x86_64": "amd64", "aarch64": "arm64"}


def prerequisites(
    name: str, host: Host, facts: HostFacts | None, cards: Mapping[int, Gpu | None], notes: list[Note]
) -> PrerequisitesPlan | None:
    """What is installed and set on a host; None where nothing is declared, or nothing can be said yet.

    Args:
        name: the host's name in the stack.
        host: what the stack file says of it.
        facts: the machine as it was found; None where it never was.
        cards: its cards by index, None where a card is not in the catalogue.
        notes: takes what must be said, refusals among it.
    """
    said, where = host.prerequisites, f"hosts.{name}.prerequisites"
    if said == Prerequisites():
        return None
    if facts is None:
        text = "the machine was not observed; what they need is said once it can be read"
        notes.append(remark(where, text))
        if said.driver is not None:
            kinds = {gpu.id: gpu for gpu in cards.values() if gpu is not None}
            notes += [refusal(f"{where}.driver", text) for text in conflicts(said.driver, tuple(kinds.values()))]
        return None
    if not _changeable(said, facts, where, notes):
        return None
    system = operating_systems.find(facts.os.id, facts.os.version)
    if system is None:
        known = ", ".join(one.name for one in operating_systems.all_systems())
        is_there = facts.os.pretty or f"{facts.os.id} {facts.os.version}"
        text = f"the machine has {is_there}, must have one of {known}; install by hand and leave prerequisites out"
        notes.append(refusal(where, text))
        return None
    machine = Machine(name=name, host=host, facts=facts, system=system, cards=cards)
    return PrerequisitesPlan(
        manager=system.manager,
        repositories=_repositories(machine, notes),
        driver=driver(machine, notes) if said.driver is not None else None,
        docker=_docker(machine, notes) if said.docker is not None else None,
        toolkit=_toolkit(machine, notes) if said.container_toolkit is not None else None,
        daemon=_daemon(machine),
        daemon_defaults=known_docker.daemon_defaults() if machine.host.prerequisites.docker is not None else {},
        sysctl=dict(said.sysctl),
        limits={item: str(value) for item, value in said.limits.items()},
        users={name: tuple(dict.fromkeys(user.groups)) for name, user in said.users.items()},
        on_destroy=said.on_destroy,
    )


def declared(said: Prerequisites) -> frozenset[str]:
    """The parts that the stack file names."""
    parts = ("driver", "docker", "container_toolkit", "sysctl", "limits", "users")
    return frozenset(part for part in parts if getattr(said, part))


def _changeable(said: Prerequisites, facts: HostFacts, where: str, notes: list[Note]) -> bool:
    """Whether the machine is one that can be changed at all: a pod is what its image and its host make of it."""
    if facts.guest:
        text = (
            f"is declared and the host is a container ({facts.container}) without systemd, where it cannot be changed, "
            "must be left out; what its machine has is verified, choose one that has it"
        )
        notes += [refusal(f"{where}.{part}", text) for part in sorted(declared(said))]
        return False
    if not facts.root:
        text = (
            f"the login {facts.user} has no rights of root, must have them; let it use sudo without a password, name "
            "its password's secret in connection.ssh.sudo_password, or log in as root"
        )
        notes.append(refusal(where, text))
        return False
    if facts.container is not None:
        text = f"the host is a container ({facts.container}): kernel, modules and kernel settings are its machine's"
        notes.append(warning(where, text))
    return True


def _repositories(machine: Machine, notes: list[Note]) -> tuple[RepositoryPlan, ...]:
    said = machine.host.prerequisites
    needed: list[Owner] = []
    if said.driver is not None:
        needed.append("nvidia")
    if said.docker is not None and docker_package(machine) == "docker-ce":
        needed.append("docker")
    if said.container_toolkit is not None:
        needed.append("container_toolkit")
    found = [_repository(machine, owner, getattr(said.repositories, owner), notes) for owner in needed]
    return tuple(one for one in found if one is not None)


def _repository(machine: Machine, owner: Owner, over: Override | None, notes: list[Note]) -> RepositoryPlan | None:
    """The vendor's repository, with what the stack file says instead."""
    where = f"{machine.where}.repositories.{owner}"
    base = machine.system.repository(owner, machine.facts.architecture)
    if base is None:
        text = f"has no packages for {machine.facts.architecture}, must have them; install by hand and leave it out"
        notes.append(refusal(where, text))
        return None
    over = over or Override()
    fingerprint = over.fingerprint or base.fingerprint
    if fingerprint is None:
        text = (
            f"the fingerprint of its key ({base.key}) is not in the catalogue, must be known before it is trusted; "
            "give fingerprint, or a mirror's key with its own"
        )
        notes.append(refusal(where, text))
        return None
    apt = machine.system.manager == "apt"
    suite = over.suite or base.suite
    # A mirror of a vendor's repository has the vendor's layout; only one with a suite of its own may differ.
    components = base.components if over.components is None else over.components
    return RepositoryPlan(
        owner=owner,
        name=base.name,
        uri=over.uri or base.uri,
        fingerprint=fingerprint,
        signed=base.signed,
        key_file=over.key,
        key_url=None if over.key is not None else base.key,
        suite=suite if apt else "",
        components=() if suite.endswith("/") or not apt else components,
        architecture=_APT_WORDS[machine.facts.architecture] if apt else "",
        obsolete=_obsolete(machine, owner),
        label=base.label,
        first=base.first,
    )


def _obsolete(machine: Machine, owner: Owner) -> tuple[str, ...]:
    """Files of older guides that declare the same repository under another key."""
    if machine.system.manager != "apt":
        return ()
    lists = {
        "container_toolkit": (*known_docker.OBSOLETE_TOOLKIT_LISTS, "nvidia-container-toolkit.list"),
        "docker": ("docker.list",),
        "nvidia": tuple(f"cuda-{_directory(machine)}-{word}.list" for word in ("x86_64", "sbsa")),
    }
    return tuple(f"/etc/apt/sources.list.d/{name}" for name in lists[owner])


def _directory(machine: Machine) -> str:
    repository = machine.system.repository("nvidia", machine.facts.architecture)
    return repository.name.removeprefix("cuda-") if repository is not None else ""


def docker_package(machine: Machine) -> str:
    """Whose Docker: as declared; left out, the one that was there before Berth came, else Docker's own."""
    said = machine.host.prerequisites.docker
    if said is not None and said.package != "auto":
        return said.package
    mirrored = machine.host.prerequisites.repositories.docker is not None
    ours = mirrored or any(path in machine.facts.files for path in _OUR_DOCKER)
    return "docker.io" if _installed(machine.facts, "docker.io") and not ours else "docker-ce"


def _docker(machine: Machine, notes: list[Note]) -> DockerPlan | None:
    said, facts, where = machine.host.prerequisites.docker, machine.facts, f"{machine.where}.docker"
    assert said is not None  # noqa: S101 - asked only where it is declared
    if facts.docker.snap:
        text = "the machine's Docker is a snap, which ignores daemon.json, must be packages; `snap remove docker`"
        notes.append(refusal(where, text))
        return None
    package = docker_package(machine)
    names = machine.system.docker if package == "docker-ce" else machine.system.docker_distribution
    if not names:
        text = f"is docker.io, which {machine.system.name} does not have, must be docker-ce"
        notes.append(refusal(f"{where}.package", text))
        return None
    packages = dict.fromkeys(names, "any")
    if said.version is not None:
        epoch = "5:" if package == "docker-ce" and machine.system.manager == "apt" else ""
        pinned = {
            name: _version(said.version, epoch) for name in names if name in {"docker-ce", "docker-ce-cli", "docker.io"}
        }
        packages |= pinned
    if package == "docker-ce":
        packages |= dict.fromkeys(machine.system.docker_conflicts, "absent")
        if others := [name for name in machine.system.docker_conflicts if _installed(facts, name)]:
            text = f"removes {', '.join(others)}, which cannot stay beside {package}; containers stop meanwhile"
            notes.append(warning(where, text))
    return DockerPlan(packages=PackagesPlan(name="docker", packages=packages, hold=_hold(said.version)))


def _toolkit(machine: Machine, notes: list[Note]) -> ToolkitPlan | None:
    said, facts, where = (
        machine.host.prerequisites.container_toolkit,
        machine.facts,
        f"{machine.where}.container_toolkit",
    )
    assert said is not None  # noqa: S101 - asked only where it is declared
    if machine.host.prerequisites.docker is None and facts.docker.client is None:
        text = "is declared and there is no Docker on the machine, must be one; declare docker beside it"
        notes.append(refusal(where, text))
        return None
    version = "any" if said.version is None else _version(said.version)
    packages = PackagesPlan(
        name="container-toolkit", packages=dict.fromkeys(machine.system.toolkit, version), hold=_hold(said.version)
    )
    # On GeForce the compatibility libraries of an image cannot work, and would be put before the driver's own.
    plain = bool(machine.gpus) and not any(gpu.forward_compatible for gpu in machine.gpus)
    return ToolkitPlan(
        packages=packages,
        refreshed_by="unit" if facts.systemd else "nobody",
        disabled_hooks=("enable-cuda-compat",) if plain else (),
    )


def _daemon(machine: Machine) -> Mapping[str, Any]:
    """Keys of daemon.json: those that Berth needs, with what the stack file says laid over them."""
    said = machine.host.prerequisites
    gpu = said.container_toolkit is not None
    if said.docker is None:
        return {"features": {"cdi": True}, **known_docker.NVIDIA_RUNTIME} if gpu else {}
    base = known_docker.daemon_settings(gpu=gpu, live_restore=said.docker.live_restore)
    return _laid(base, said.docker.settings)


def _laid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mappings key by key."""
    return {**base, **{key: _over(base.get(key), value) for key, value in over.items()}}


def _over(base: Any, value: Any) -> Any:
    return _laid(base, value) if isinstance(base, Mapping) and isinstance(value, Mapping) else value


def _version(version: str, epoch: str = "") -> str:
    """A version for the package manager: one without the packager's own part stands for all builds of it."""
    whole = version if ":" in version else f"{epoch}{version}"
    return whole if "-" in version or "~" in version else f"{whole}-*"


def _hold(version: str | None) -> bool | None:
    return True if version is not None else None


def _installed(facts: HostFacts, package: str) -> bool:
    found = facts.packages.get(package)
    return found is not None and found.state == "installed"
