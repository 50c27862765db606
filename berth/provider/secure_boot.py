"""What Secure Boot asks of a person when a driver's module was built on the machine itself."""

from __future__ import annotations

from berth.catalogue.drivers import signing_key
from berth.facts import HostFacts


def enrolment(facts: HostFacts, host: str) -> str:
    """What to do at the machine's console, which nobody can do over a connection; with the ways around it."""
    key = signing_key(facts.os.id)
    signed = (
        "Or take Ubuntu's modules, which are signed (linux-modules-nvidia-*-server-open with its kernel), or turn"
        if facts.os.id == "ubuntu"
        else "Or turn"
    )
    return (
        f"{host}: Secure Boot is on, and its firmware loads the driver's module only once it knows the key that signed "
        f"it. Run `sudo mokutil --import {key}` there (it asks for a new password), reboot, choose Enroll MOK and "
        "Continue at the machine's own console within ten seconds, and type that password: over SSH nobody can, and a "
        f"missed prompt drops the request. `mokutil --test-key {key}` says whether it is enrolled. Then run the same "
        f"again. {signed} Secure Boot off in the firmware"
    )
