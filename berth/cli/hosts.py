# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth hostkey`, `berth facts` and `berth forget`: a single machine, before and after a stack has it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from berth.cli.options import HostKey, KeyFile, SshPort, WhoseHost, ssh_of
from berth.cli.saying import FAILED, WRONG_INPUT, WrongInput, complain, failing


def hostkey(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="A machine's name or address, or its alias in ~/.ssh/config.")
    ],
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Its SSH port; left out, 22 or the alias's own.")
    ] = None,
    proxy_jump: Annotated[
        str | None, typer.Option(metavar="USER@HOST:PORT", help="A machine to go through, as in the stack file.")
    ] = None,
) -> None:
    """Show a machine's SSH host key, to compare and to pin in the stack file; nothing is logged in to.

    Exit codes: 0 it is shown, 1 the machine does not answer.
    """
    import asyncio

    from berth.provider.connection.hostkey import fetch
    from berth.provider.errors import ProviderError

    with failing(ProviderError):
        key = asyncio.run(fetch(host, port=port, proxy_jump=proxy_jump))
    sys.stdout.write(key.text(host))


def facts(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host of a stack file, or a machine as USER@HOST.")],
    *,
    stack: WhoseHost = None,
    host_key: HostKey = None,
    port: SshPort = None,
    key_file: KeyFile = None,
    name: Annotated[
        str | None, typer.Option(help="For USER@HOST: what the file is called; left out, its address.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print what would be recorded, and write nothing.")] = False,
) -> None:
    """Record what a machine is in stacks/facts/STACK/HOST.json, for plans without access to it.

    Only looks, with the rights that its login has. Names, addresses and secrets are taken out; look through the file
    before you commit it.

    Exit codes: 0 it is recorded, 1 the machine does not answer, 2 wrong input.
    """
    from berth.lifecycle.errors import LifecycleError
    from berth.provider.errors import ProviderError
    from berth.record import CannotRecord, of_machine, of_stack

    ssh = ssh_of(host, host_key=host_key, port=port, key_file=key_file, name=name)
    if ssh is not None and stack is None and not show:
        raise WrongInput(f"{host}: its stack is not said, must be; say --stack NAME, or --show to print it alone")
    with failing(CannotRecord, code=WRONG_INPUT), failing(LifecycleError, ProviderError):
        recording = of_stack(host, stack) if ssh is None else of_machine(ssh, name, stack=stack or "")
        if show:
            sys.stdout.write(recording.text)
            return
        recording.write()
    sys.stdout.write(f"{recording.path.name}: {recording.summary}\n")
    for what, why in recording.facts.unread.items():
        sys.stdout.write(f"not read: {what}: {why}\n")
    sys.stdout.write(f"Look through {recording.path} before you commit it.\n")


def forget(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The name that the stack file had for it.")],
    *,
    stack: Annotated[str, typer.Option(help="The stack whose state still knows the host.")] = "dev",
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing; needed without a terminal, where nobody can answer.")
    ] = False,
) -> None:
    """Drop from a stack's state what lies on a host that is gone; nothing is asked of the host or removed there.

    The host must not be in the stack file any more.

    Exit codes: 0 it is forgotten, 1 it is not.
    """
    from berth.forget import forgetting
    from berth.lifecycle.errors import LifecycleError

    with failing(LifecycleError):
        found = forgetting(host, stack)
        if not found.dropped:
            sys.stdout.write(f"stack {stack}: its state knows nothing of host {host}\n")
            return
        sys.stdout.write(f"stack {stack}: these are dropped from its state; what runs on {host} stays there:\n")
        sys.stdout.write("\n".join(found.lines) + "\n")
        if not yes and not sys.stdin.isatty():
            complain("nobody can be asked without a terminal; say --yes if they are to be dropped")
            raise typer.Exit(FAILED)
        if not yes:
            typer.confirm(f"Forget {host}?", abort=True)
        found.apply()
    sys.stdout.write(f"stack {stack}: forgot host {host}\n")
