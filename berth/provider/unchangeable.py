"""What a host does not let anybody change: said as such, before anything is tried."""

from __future__ import annotations

from berth.facts import HostFacts
from berth.provider.errors import BadInput


def refuse_unchangeable(facts: HostFacts, host: str, problem: str, *, systemd: bool = True) -> None:
    """Raises where what differs (`problem`: what is, what must be) cannot be changed from inside the host.

    A container without systemd, such as a rented pod, has the driver of the machine around it. With `systemd`, the
    change needs a service that starts at boot.

    Raises:
        BadInput: naming why, and what to do instead.
    """
    if facts.guest:
        raise BadInput(
            f"{host}: {problem}; it cannot be changed here: this is a container ({facts.container}) on a machine that "
            "is not in this stack. Choose a machine that has it, or leave it out of prerequisites"
        )
    if not facts.root:
        reason = facts.unread.get("root", "")
        raise BadInput(
            f"{host}: {problem}; it cannot be changed here: {facts.user} has no rights of root"
            f"{f' ({reason})' if reason else ''}. Give it sudo, or a user who has it"
        )
    if systemd and not facts.systemd:
        raise BadInput(
            f"{host}: {problem}; it cannot be changed here: systemd does not run there, so that nothing would bring it "
            "back after a reboot. Set it by hand, or leave it out of prerequisites"
        )
