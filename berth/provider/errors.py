"""What can go wrong on the way to a host, as one tree.

ProviderError
├── BadInput        what was asked for can never work; known before any host is touched
│   └── UnknownHost  the state or the program names a host that the stack does not have
├── Unreachable     the host did not answer
├── CommandFailed   a command on the host ended with a status that was not expected
├── StillDiffers    all steps ran and the host is still not as declared
├── StartFailed     a service was started and did not become ready
├── RebootNeeded    only a reboot of the host leads on, and it was not done
└── Busy            somebody else is changing the same stack on that host, or the host itself
"""

from __future__ import annotations

from collections.abc import Sequence


class ProviderError(Exception):
    """A failure that its message explains to the user; it never needs a traceback."""


class BadInput(ProviderError):
    """What was asked for can never work."""


class UnknownHost(BadInput):
    """The state or the program names a host that the stack does not have (any more)."""


class Unreachable(ProviderError):
    """The host did not answer."""


class CommandFailed(ProviderError):
    """A command on the host ended with a status that was not expected.

    `status` is its exit status (None when it ran out of time), `output` the last lines it wrote.
    """

    def __init__(self, *, host: str, doing: str, status: int | None, output: str) -> None:
        end = "ran out of time" if status is None else f"ended with status {status}"
        super().__init__(f"{host}: {doing}: the command {end}" + (f":\n{output}" if output else ""))
        self.status = status
        self.output = output


class StillDiffers(ProviderError):
    """All steps ran and the host is still not as declared; `keys` names what differs."""

    def __init__(self, *, host: str, what: str, keys: Sequence[str]) -> None:
        named = ", ".join(keys)
        super().__init__(f"{host}: {what}: after all steps these still differ from what is declared: {named}")
        self.keys = tuple(keys)


class StartFailed(ProviderError):
    """A service was started and did not become ready; the message holds its last lines and what they mean."""


class RebootNeeded(ProviderError):
    """Only a reboot of the host leads on: it is not allowed, or did not happen."""


class Busy(ProviderError):
    """Somebody else is changing the same stack on that host, or the host itself."""
