"""What tests of connections share."""

from __future__ import annotations

from tests.sshd.fixtures import connect, home, own_ssh_server, ssh_server

__all__ = ["connect", "home", "own_ssh_server", "ssh_server"]
