"""The watcher: takes engines that are frozen out of rotation, and says which models are up.

It is one program of the standard library alone, which runs beside the gateway on its host: Envoy sees whether an engine
answers `/health`, which it also does when the part of it that computes stands still.
"""

from __future__ import annotations

import importlib.resources
from typing import Final

PROGRAM: Final = importlib.resources.files(__package__).joinpath("watch.py").read_text()
"""The program; it says itself what it does. Any Python from 3.9 on runs it."""


def command(
    python: str, program: str, folder: str, admin_port: int, *, certificate: str | None = None, key: str | None = None
) -> list[str]:
    """The command line of the watcher.

    Args:
        python: the interpreter on the host.
        program: where `PROGRAM` lies there.
        folder: the gateway's folder, in which it writes endpoints and the status.
        admin_port: the port of the gateway's admin interface.
        certificate: the file of the user's certificate chain, taken over whenever it is replaced; None without.
        key: the file of its private key.
    """
    argv = [python, "-I", "-S", program, folder, str(admin_port)]
    return argv if certificate is None or key is None else [*argv, "--certificate", certificate, "--key", key]
