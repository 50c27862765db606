"""How a program ends that cannot go on, and what keeps it from asking any host."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pulumi
from pulumi.runtime.stack import wait_for_rpcs
from pulumi.runtime.sync_await import _sync_await

from berth.planner.plan import HostPlan, Ssh

_PUBLIC = "berth-dev"
"""The passphrase of the dev stack, which its committed salt makes known to everybody."""

_SHOWN = 32
"""A program that ends with this status has said what is wrong; Pulumi's language host adds nothing to it."""


def refuse(found: Sequence[str]) -> NoReturn:
    """Ends the program with a line for each problem, once everything that it has declared is made.

    Pulumi then deletes nothing. What is asked of the engine and not waited for would end as a warning of Python's.
    """
    _sync_await(wait_for_rpcs())
    for line in found:
        pulumi.log.error(line)
    warnings.simplefilter("ignore", RuntimeWarning)  # of the stack's outputs, which are registered no more
    sys.exit(_SHOWN)


def unasked(hosts: Mapping[str, HostPlan], stack: str, project: Path) -> str:
    """Why no host can be asked yet; empty where they can."""
    if is_public(stack, project):
        return "the stack's secrets are not safe yet"
    ways = [host.connection for host in hosts.values() if isinstance(host.connection, Ssh)]
    missing = [ssh.sudo_password for ssh in ways if ssh.sudo_password and not pulumi.Config().get(ssh.sudo_password)]
    return f"the secret {missing[0]} has no value" if missing else ""


def is_public(stack: str, project: Path) -> bool:
    """Whether everybody can read the stack's secrets."""
    settings = project / f"Pulumi.{stack}.yaml"
    salted = settings.is_file() and "encryptionsalt:" in settings.read_text()
    return stack != "dev" and salted and os.environ.get("PULUMI_CONFIG_PASSPHRASE") == _PUBLIC
