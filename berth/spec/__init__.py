"""What a stack file may say: typed, frozen, unknown keys refused, and every mistake in one run."""

from berth.spec.problems import Problem, SpecError
from berth.spec.reading import load, loads
from berth.spec.stack import Stack

__all__ = ["Problem", "SpecError", "Stack", "load", "loads"]
