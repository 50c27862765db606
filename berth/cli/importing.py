# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth import`: from what runs on a machine to a stack file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from berth.cli.options import HostKey, KeyFile, SshPort, WhoseHost, ssh_of
from berth.cli.saying import WRONG_INPUT, WrongInput, failing


def bring_in(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="A host of a stack file, a machine as USER@HOST, or local.")
    ],
    *,
    stack: WhoseHost = None,
    host_key: HostKey = None,
    port: SshPort = None,
    key_file: KeyFile = None,
    name: Annotated[
        str | None, typer.Option(help="For USER@HOST: what the stack file calls it; left out, box.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The stack file, such as stacks/box.yaml; left out, it is printed.")
    ] = None,
) -> None:
    """Write a stack file that says what runs on a machine: vLLM, SGLang and TGI in containers and as processes.

    Only looks, with the rights that its login has. Each model is marked with `adopt`, so that `pulumi up` takes what
    runs into the stack without touching it. Secrets are never written.

    Exit codes: 0 it is written, 1 the machine does not answer, 2 wrong input, or no engine runs there.
    """
    from berth.inventory import CannotImport, of_machine, of_stack
    from berth.lifecycle.errors import LifecycleError
    from berth.provider.errors import ProviderError
    from berth.spec import SpecError

    ssh = ssh_of(host, host_key=host_key, port=port, key_file=key_file, name=name)
    if ssh is not None and stack is not None:
        raise WrongInput(f"--stack: is given for {host}, goes with a host of a stack file alone; leave one of them out")
    with failing(CannotImport, SpecError, code=WRONG_INPUT), failing(LifecycleError, ProviderError):
        found = of_stack(host, stack) if ssh is None else of_machine(ssh, name or "box")
        if output is None:
            sys.stdout.write(found.text)
            return
        found.write(output)
    sys.stdout.write(f"{output}: {', '.join(found.imported.models)}\n")
    sys.stdout.write(f"Look through it, then: berth plan {output}\n")
