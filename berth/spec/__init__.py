"""What a stack file may say: typed, frozen, unknown keys refused, and every mistake in one run."""

from berth.spec.problems import Problem, SpecError
from berth.spec.stack import Stack, load, loads

__all__ = ["Problem", "SpecError", "Stack", "load", "loads"]
