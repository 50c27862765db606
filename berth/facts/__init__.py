"""What is known about machines from the machines themselves: gathered in one go, parsed, recorded."""

from berth.facts.model import HostFacts

__all__ = ["HostFacts"]
