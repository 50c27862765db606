"""Arguments and options that several commands have: said once, they read and mean the same in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from berth.cli.saying import WrongInput

StackFile = Annotated[str, typer.Argument(metavar="STACK", help="A name in stacks/, or the path of a stack file.")]
StackName = Annotated[str, typer.Argument(metavar="STACK", help="The stack's name: stacks/STACK.yaml describes it.")]
Profile = Annotated[
    str | None, typer.Option(help="Which of the models' shares applies; left out, the stack file's own.")
]

WhoseHost = Annotated[str | None, typer.Option(help="The stack whose host it is; left out, the one whose file has it.")]
HostKey = Annotated[str | None, typer.Option(help="For USER@HOST: its public key, as `berth hostkey` prints it.")]
SshPort = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="For USER@HOST: its SSH port; left out, that of ~/.ssh/config, else 22."),
]
KeyFile = Annotated[Path | None, typer.Option(help="For USER@HOST: the private key to log in with.")]


def ssh_of(
    host: str, *, host_key: str | None, port: int | None, key_file: Path | None, name: str | None
) -> Mapping[str, Any] | None:
    """The way to USER@HOST, as a stack file has it under `ssh`; None where it is a host's name in a stack file.

    Raises:
        WrongInput: it is neither, or an option of a machine is given for a stack's host, whose file says it all.
    """
    user, at, address = host.rpartition("@")
    if not at:
        given = {"--host-key": host_key, "--port": port, "--key-file": key_file, "--name": name}
        for option, value in given.items():
            if value is not None:
                raise WrongInput(f"{option}: is given for {host}, goes with USER@HOST alone; leave one of them out")
        return None
    if not user or not address:
        raise WrongInput(f"{host}: must be USER@HOST, or a host of a stack file; name both")
    said = {"host_key": host_key, "port": port, "key_file": None if key_file is None else str(key_file.resolve())}
    return {"host": address, "user": user, **{key: value for key, value in said.items() if value is not None}}
