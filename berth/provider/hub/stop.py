"""Why a download cannot go on. Runs on the host."""

from __future__ import annotations

STATUS = {
    "offline": 3,  # the hub cannot be reached
    "repo": 4,  # it has no such model, or hides it
    "revision": 5,  # the model has no such revision
    "gated": 6,  # the model's owners have not let this token in
    "token": 7,  # the token itself is refused
    "limit": 8,  # too many requests, and the wait that is asked for is too long
    "disk": 9,  # no space, or no right to write
    "mismatch": 10,  # what arrived is not what the hub lists
    "server": 11,  # the hub answers with errors, or is none
    "weights": 12,  # the model has no weights that an engine can load
}
"""The exit status of each kind of failure; 0 is success, 2 a wrong option."""


class Stop(Exception):
    """The download cannot go on; `kind` is a key of STATUS, the message says what to do."""

    def __init__(self, kind: str, say: str) -> None:
        super().__init__(say)
        self.kind = kind
