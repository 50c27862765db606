"""Root on a machine with Debian's own sshd and sudo, and logins that are of no use."""

from __future__ import annotations

import asyncio
import os

import pytest

from berth.provider.command import Command, leashed, shell
from berth.provider.errors import CommandFailed, Unreachable
from tests.machines.fixtures import machine_engine
from tests.machines.kinds import PASSWORD
from tests.sshd.fixtures import Connect, ssh_machine
from tests.sshd.hostile import HOSTILE
from tests.sshd.machine import SshMachine

__all__ = ["machine_engine", "ssh_machine"]

pytestmark = pytest.mark.systemd

WAYS = [("root", None), ("free", None), ("asks", PASSWORD), ("odd", None)]
CONTENT = bytes(range(256)) * 500


def root(script: str, *arguments: str, stdin: bytes | None = None, timeout_s: float = 60) -> Command:
    made = shell(script, *arguments, says="working", stdin=stdin, timeout_s=timeout_s)
    return Command(argv=made.argv, says=made.says, stdin=stdin, timeout_s=timeout_s, root=True)


@pytest.mark.parametrize(("user", "password"), WAYS)
async def test_commands_have_the_rights_of_root_and_their_own_input(
    ssh_machine: SshMachine, connect: Connect, user: str, password: str | None
) -> None:
    connection = connect(ssh_machine.settings(user, password))
    who = await connection.run(shell("id -un", says="asking"))
    assert who.stdout == f"{user}\n"
    # sudo may remember the password from the second on, and leaves it unread then
    for _ in range(2):
        result = await connection.run(root('id -un; cat > "$1"; echo bad >&2', "/root/new", stdin=CONTENT))
        assert (result.status, result.stdout, result.stderr) == (0, "root\n", "bad\n")
    read = await connection.run(root("od -An -v -tx1 /root/new | tr -d ' \\n'"))
    assert bytes.fromhex(read.stdout) == CONTENT
    assert (await connection.run(root("cat"))).stdout == ""


async def test_any_argument_passes_a_login_shell_that_is_no_posix_sh(ssh_machine: SshMachine, connect: Connect) -> None:
    connection = connect(ssh_machine.settings("odd"))
    assert (await connection.run(shell("cat /proc/$PPID/comm", says="asking"))).stdout in {"tcsh\n", "sshd-session\n"}
    command = Command(argv=("printf", "%s\\0", *HOSTILE), says="printing")
    assert (await connection.run(command)).stdout.split("\0")[:-1] == HOSTILE


async def test_the_password_is_in_no_argument_and_no_log(ssh_machine: SshMachine, connect: Connect) -> None:
    connection = connect(ssh_machine.settings("asks", PASSWORD))
    seen = await connection.run(
        root("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; journalctl --no-pager", timeout_s=60)
    )
    assert "sshd" in seen.stdout
    assert PASSWORD not in seen.stdout.replace("\0", " ")


@pytest.mark.parametrize(("user", "password"), WAYS)
async def test_what_runs_as_root_is_ended_with_its_caller(
    ssh_machine: SshMachine, connect: Connect, user: str, password: str | None
) -> None:
    connection = connect(ssh_machine.settings(user, password))
    marker = f"4244.{os.getpid()}"
    with pytest.raises(CommandFailed, match="ran out of time"):
        await connection.run(root('sleep "$1" & wait', marker, timeout_s=1))
    begun = asyncio.Event()
    held = leashed(root('echo begun; sleep "$1"', marker))
    running = asyncio.create_task(connection.run(held, lambda _: begun.set()))
    await begun.wait()
    running.cancel()
    await asyncio.wait({running})
    assert ssh_machine.machine.run(["pgrep", "-f", f"sleep {marker}"]).out == ""


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [
        ("asks", None, "box: sudo needs a password (sudo: a password is required); name the secret that holds it in"),
        ("asks", "wrong", "box: sudo does not take the password of hosts.box.connection.ssh.sudo_password: "),
        ("cannot", PASSWORD, "cannot is not in the sudoers file"),
        ("shellless", None, "runs no commands (status 1); it said: This account is currently not available."),
    ],
)
async def test_a_login_that_cannot_become_root_says_why(
    ssh_machine: SshMachine, connect: Connect, user: str, password: str | None, message: str
) -> None:
    with pytest.raises(Unreachable) as caught:
        await connect(ssh_machine.settings(user, password)).run(root("true"))
    assert message in str(caught.value)
    assert PASSWORD not in str(caught.value)
