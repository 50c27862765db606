"""How the facts of a machine are gathered: one POSIX-sh script, and what its answer says."""

from __future__ import annotations

from berth.facts.model import HostFacts

SCRIPT = ""


def parse(text: str) -> HostFacts:
    """The facts in what the script wrote.

    Raises:
        ValueError: the text is not the script's.
    """
    raise ValueError(text)
