"""The machine itself: its system, what the login may read there, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator

from berth.planner.readiness.check import Check, Subject, fail, ok, unknown, warn


def system_checks(subject: Subject) -> Iterator[Check]:
    """What holds for every host."""
    facts = subject.facts
    name = facts.os.pretty or f"{facts.os.id} {facts.os.version}"
    inside = f", in a container ({facts.container})" if facts.container else ""
    yield ok("system", f"{name}, {facts.architecture}, kernel {facts.kernel}{inside}")
    if subject.host.declares and not facts.root:
        todo = "let it use sudo without a password, or name its password's secret in connection.ssh.sudo_password"
        yield fail("root", f"the login {facts.user} has no rights of root", "able to install what is declared", todo)
    if subject.host.init == "systemd" and facts.init != "systemd":
        yield fail("init", "systemd does not keep services for this login", "so, as init says", "say init: auto")
    broken = sorted(name for name, package in facts.packages.items() if package.state in _HALF)
    if broken:
        todo = "`dpkg --configure -a` there, or `pulumi up` where packages are declared"
        yield warn(
            "packages", f"{', '.join(broken[:5])} are half installed", "whole before anything is installed", todo
        )
    if facts.reboot_required:
        yield warn("reboot", "the machine waits for a reboot", "rebooted", "reboot it when nothing serves")
    for what, why in sorted(facts.unread.items()):
        if what not in _ASKED_ELSEWHERE:
            yield unknown(what, why, "give the login the rights to read it, or ignore this")


_ASKED_ELSEWHERE = {"docker", "gpus"}
"""Parts of the facts whose own checks say that they could not be read."""

_HALF = {"half-installed", "half-configured", "unpacked", "triggers-awaited", "reinstreq"}
"""dpkg's words for an installation that was interrupted."""
