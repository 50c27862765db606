"""What apt and dnf are asked for: names and versions as one word each, and the commands that lead there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

Manager = Literal["apt", "dnf"]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._-]*$")]
"""A package's name."""

Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+:~^_-]*\*?$")]
"""What is asked of a package: `any`, `absent`, one version as its package manager writes it, or a branch (`580.*`)."""
