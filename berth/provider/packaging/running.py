"""Running a package manager: what it is at as status, and why it failed in one line."""

from __future__ import annotations

import re

from berth.provider.command import Command, Result
from berth.provider.errors import CommandFailed
from berth.provider.host import Host
from berth.provider.packaging.reasons import explain

_OURS = "berth: "
_FAILED = "berth: failed"
_STEPS = re.compile(
    r"^(Get:\d+ |Fetched |Unpacking |Setting up |Removing |Waiting |  (Installing|Upgrading|Erasing) +:)"
)
_STATUS_LENGTH = 100


async def run(host: Host, command: Command) -> Result:
    """Runs a command of a package manager and shows what it is at.

    Raises:
        CommandFailed: it failed; the message begins with the reason where it is a known one.
        Unreachable: the host did not answer.
    """
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == _FAILED:
            return
        if line.startswith(_OURS):
            host.say(line.removeprefix(_OURS))
        elif _STEPS.match(line):
            host.say(f"{command.says}: {line.strip()[:_STATUS_LENGTH]}")

    try:
        return await host.run(command, on_line)
    except CommandFailed as failed:
        output = "\n".join(part for part in (explain(lines), failed.output) if part)
        raise CommandFailed(host=host.name, doing=command.says, status=failed.status, output=output) from None
