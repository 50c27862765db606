"""Records what a machine is as `stacks/facts/STACK/HOST.json`, for plans without access, with names and secrets out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from berth.facts import HostFacts
from berth.facts.anonymous import anonymous
from berth.facts.store import Store, write
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import Project
from berth.lifecycle.pulumi import Pulumi
from berth.provider.host import Hosts, HostSettings
from berth.spec import SpecError, load
from berth.spec.hosts import Host

_NAME_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"


class CannotRecord(Exception):
    """The machine cannot be recorded; the message says why and what to do."""


@dataclass(frozen=True)
class Recording:
    """A machine that was asked, and where its facts go."""

    path: Path
    facts: HostFacts

    @property
    def text(self) -> str:
        """The file's content."""
        return json.dumps(self.facts.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"

    @property
    def summary(self) -> str:
        """The machine in one line, for whoever looks whether it is the right one."""
        facts = self.facts
        cards = ", ".join(gpu.name for gpu in facts.gpus) or f"{len(facts.pci_gpus) or 'no'} GPUs without a driver"
        driver = facts.driver.loaded or facts.driver.installed or "none"
        return f"{facts.os.pretty or facts.os.id}, {cards}, driver {driver}, Docker {facts.docker.version or 'none'}"

    def write(self) -> None:
        """Writes the file, whole or not at all.

        Raises:
            CannotRecord: its folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write(self.path, self.text)
        except OSError as error:
            raise CannotRecord(f"{self.path}: cannot be written ({error.strerror}); make it writable") from None


def of_stack(host: str, stack: str | None, project: Project | None = None) -> Recording:
    """Asks a host of a stack file.

    Args:
        host: its name there.
        stack: the stack's name; None looks for the one stack that has such a host.
        project: the project; this package's own when absent.

    Raises:
        CannotRecord: no stack has the host, or several have.
        LifecycleError: its sudo password cannot be read.
        ProviderError: it does not answer.
    """
    project = project or Project.here()
    name, said = declared(host, project, stack)
    return _recorded(host, settings(said, name, project), name, project, _names(said))


def of_machine(ssh: Mapping[str, Any], name: str | None, *, stack: str, project: Project | None = None) -> Recording:
    """Asks a machine that no stack file has to know.

    Args:
        ssh: the way to it, as a stack file has it under `ssh`.
        name: what the file is called; None takes the address.
        stack: the stack that the facts are for.
        project: the project; this package's own when absent.

    Raises:
        ProviderError: it does not answer.
    """
    way = HostSettings.model_validate({"connection": {"ssh": ssh}, "workspace": "."})
    address = str(ssh["host"])
    called = "".join(letter if letter in _NAME_LETTERS else "-" for letter in (name or address).lower())
    return _recorded(called, way, stack, project or Project.here(), {address, address.partition(".")[0]})


def _recorded(name: str, way: HostSettings, stack: str, project: Project, names: set[str]) -> Recording:
    async def ask() -> HostFacts:
        hosts = Hosts({name: way})
        try:
            return await hosts.reader(name).facts()
        finally:
            await hosts.close()

    facts = anonymous(asyncio.run(ask()), names)
    return Recording(Store(project.root, stack).recorded(name), facts)


def declared(host: str, project: Project, stack: str | None) -> tuple[str, Host]:
    """The stack that has such a host, by name, and what its file says of it.

    Raises:
        CannotRecord: no stack has the host, or several have.
    """
    found = dict(_declared(host, project, stack))
    if len(found) != 1:
        known = f"stacks {', '.join(sorted(found))} have it; say --stack" if found else "no stack file declares it"
        raise CannotRecord(f"host {host}: {known}; or give a machine as USER@HOST")
    return next(iter(found.items()))


def _declared(host: str, project: Project, stack: str | None) -> Iterator[tuple[str, Host]]:
    """The stacks that have such a host; a file that is wrong counts only where it is the one that was named."""
    files = sorted((project.root / "stacks").glob("*.yaml"))
    if stack is not None:
        files = [project.root / "stacks" / f"{stack}.yaml"]
    for file in files:
        try:
            hosts = load(file).hosts
        except SpecError as error:
            if stack is not None:
                raise CannotRecord("\n".join(f"stack {stack}: {problem}" for problem in error.problems)) from None
            continue
        if host in hosts:
            yield file.stem, hosts[host]


def settings(host: Host, stack: str, project: Project) -> HostSettings:
    """How a host of a stack file is reached by somebody who only looks.

    Raises:
        LifecycleError: its sudo password cannot be read.
    """
    if host.connection == "local":
        return HostSettings(connection="local", workspace=".")
    ssh = host.connection.ssh.model_dump(exclude_none=True)
    if "key_file" in ssh:
        ssh["key_file"] = str(project.root / Path(ssh["key_file"]).expanduser())
    if "sudo_password" in ssh:
        try:
            ssh["sudo_password"] = Pulumi.prepare(project, stack).call("config", "get", ssh["sudo_password"]).strip()
        except LifecycleError as error:
            what = f"its sudo password is the secret {ssh['sudo_password']}, which cannot be read"
            raise LifecycleError(f"{what}: {error}") from None
    return HostSettings.model_validate({"connection": {"ssh": ssh}, "workspace": "."})


def _names(host: Host) -> set[str]:
    """How the stack file calls and reaches it."""
    if host.connection == "local":
        return set()
    ssh = host.connection.ssh
    return {ssh.host, ssh.host.partition(".")[0], *([ssh.user] if ssh.user else [])}
