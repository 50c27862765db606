"""The Docker engine as a service: it is enabled, runs, and is new enough.

Its packages are a `Packages` resource (names in `berth.catalogue.docker`), which comes first; what the login may do
there is a `User` resource. A working engine from another source (Debian's and Ubuntu's docker.io) is verified and kept.
"""

from __future__ import annotations

from typing import Literal

from berth.provider.operation import Want


class DockerEngineWant(Want):
    """A running engine of at least version `minimum` (such as `26.1`), whose daemon is the systemd service `unit`.

    `enabled`, `active`, `masked`, `snap` and `answers` are there to be observed. `installed` is the version on disk: a
    daemon that is older than it needs a restart, not a package.
    """

    unit: str = "docker.service"
    minimum: str = "25.0"
    installed: Literal["new enough", "too old", "missing"] = "new enough"
    enabled: bool = True
    active: bool = True
    masked: bool = False
    snap: bool = False
    answers: bool = True
    on_destroy: Literal["keep", "remove"] = "keep"
