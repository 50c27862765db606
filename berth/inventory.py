"""Looks at what runs on a host and says it as a stack file; nothing there is touched."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from berth.facts import HostFacts
from berth.importing import Imported, engines, stack, text
from berth.lifecycle.project import Project
from berth.provider.command import shell
from berth.provider.errors import CommandFailed
from berth.provider.host import Host, Hosts, HostSettings
from berth.provider.http import get_json
from berth.record import CannotRecord, declared, settings
from berth.running import SCRIPT, Look, meaning, parse
from berth.spec.hosts import Host as HostSpec

LOCAL = "local"
"""Names this machine where a host is asked for."""

_VERSIONS = {"vllm": ("/version", "version"), "sglang": ("/get_server_info", "version"), "tgi": ("/info", "version")}
"""Where each engine says its release, and under which key."""


class CannotImport(Exception):
    """Nothing can be imported; the message says why and what to do."""


@dataclass(frozen=True)
class Inventory:
    """A host that was asked, as the content of a stack file."""

    host: str
    imported: Imported
    facts: HostFacts

    @property
    def text(self) -> str:
        """The stack file."""
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        heading = f"What ran on {self.host} on {day}, as `berth import` found it. Nothing there was changed."
        return text(self.imported, heading)

    def write(self, path: Path) -> None:
        """Writes the stack file whole or not at all, over none that is there.

        Raises:
            CannotImport: there is one, or it cannot be written.
            SpecError: what was found cannot be said in one.
        """
        text = self.text
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_text(text, encoding="utf-8")
            os.link(part, path)  # unlike a rename, never over what is there
        except FileExistsError:
            raise CannotImport(f"{path}: is there already, must be another; name one with --output") from None
        except OSError as error:
            raise CannotImport(f"{path}: cannot be written ({error.strerror}); name one with --output") from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink()


def of_stack(host: str, name: str | None, project: Project | None = None) -> Inventory:
    """Asks a host of a stack file, or this machine where no stack file is needed for it.

    Args:
        host: its name there, or `local`.
        name: the stack's name; None looks for the one stack that has such a host.
        project: the project; this package's own when absent.

    Raises:
        CannotImport: no stack has the host, or several have, or no engine runs there.
        LifecycleError: its sudo password cannot be read.
        ProviderError: it does not answer.
    """
    project = project or Project.here()
    if host == LOCAL and name is None:
        return _asked("here", HostSettings(connection="local", workspace="."), "local")
    try:
        where, said = declared(host, project, name)
    except CannotRecord as error:
        raise CannotImport(str(error)) from None
    return _asked(host, settings(said, where, project), _connection(said))


def of_machine(ssh: Mapping[str, Any], name: str) -> Inventory:
    """Asks a machine that no stack file has to know; see `berth.record.of_machine`.

    Raises:
        CannotImport: no engine runs there.
        ProviderError: it does not answer.
    """
    found = HostSettings.model_validate({"connection": {"ssh": ssh}, "workspace": "."})
    return _asked(name, found, {"ssh": {**ssh}})


def _connection(host: HostSpec) -> Any:
    if host.connection == "local":
        return "local"
    return {"ssh": host.connection.ssh.model_dump(exclude_none=True, exclude_defaults=True)}


def _asked(name: str, way: HostSettings, connection: Any) -> Inventory:
    async def ask() -> tuple[HostFacts, Look, dict[int, str]]:
        hosts = Hosts({name: way})
        try:
            host = hosts.reader(name)
            facts, seen = await host.facts(), await look(host)
            return facts, seen, await _versions(host, seen)
        finally:
            await hosts.close()

    facts, seen, versions = asyncio.run(ask())
    imported = stack(seen, facts, name, connection, versions)
    if not imported.models:
        raise CannotImport(
            f"{name}: runs no vLLM, SGLang or TGI that this login can see and no stack has made; "
            "look with `docker ps` there, or log in as a user who may talk to Docker"
        )
    return Inventory(name, imported, facts)


async def look(host: Host) -> Look:
    """What runs on a host, in one round trip.

    Raises:
        CommandFailed: the answer is cut off.
        Unreachable: the host did not answer.
    """
    says = f"looking at what runs on {host.name}"
    answer = await host.run(replace(shell(SCRIPT, "", says=says), docker=True))
    try:
        return parse(answer.stdout)
    except ValueError as error:
        raise CommandFailed(host=host.name, doing=says, status=answer.status, output=str(error)) from error


async def _versions(host: Host, seen: Look) -> dict[int, str]:
    """What engines say of their releases themselves, by their main process, where no image's tag says it."""
    found = {}
    for one in engines(seen):
        port = meaning(one.line).port
        outside = one.container.outside(port) if one.container is not None else None
        if one.version is not None or (one.container is not None and outside is None):
            continue
        path, key = _VERSIONS[one.line.engine]
        answer = await get_json(host, outside.port if outside is not None else port, path)
        said = str(answer.get(key, "")) if isinstance(answer, Mapping) else ""
        try:
            found[one.pid] = Version(said).public
        except InvalidVersion:
            continue
    return found
