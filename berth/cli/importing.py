# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth import`: from what runs on a machine to a stack file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from berth.cli.saying import WrongInput, complain


def bring_in(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="A host of a stack file, a machine as USER@HOST, or local.")
    ],
    *,
    stack: Annotated[
        str | None, typer.Option(help="The stack whose host it is; left out, the one whose file has it.")
    ] = None,
    host_key: Annotated[
        str | None, typer.Option(help="For USER@HOST: its public key, as `berth hostkey` prints it.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="For USER@HOST: its SSH port.")] = 22,
    key_file: Annotated[Path | None, typer.Option(help="For USER@HOST: the private key to log in with.")] = None,
    name: Annotated[str, typer.Option(help="For USER@HOST: what the stack file calls it; left out, box.")] = "",
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

    user, at, address = host.rpartition("@")
    given = {"host_key": host_key, "port": port, "key_file": None if key_file is None else str(key_file.resolve())}
    try:
        found = of_machine(user, address, name, given) if at else of_stack(host, stack)
        if output is None:
            sys.stdout.write(found.text)
            return
        found.write(output)
    except (CannotImport, SpecError) as error:
        raise WrongInput(str(error)) from None
    except (LifecycleError, ProviderError) as error:
        complain(str(error))
        raise typer.Exit(1) from None
    sys.stdout.write(f"{output}: {', '.join(found.imported.models)}\n")
    sys.stdout.write(f"Look through it, then: berth plan {output}\n")
