"""What stops a stack's way up or down before Pulumi runs.

LifecycleError: says where, what is, what must be and what to do
  Busy:         another run holds the stack
"""

from __future__ import annotations


class LifecycleError(Exception):
    """Reaches the user as its message alone."""


class Busy(LifecycleError):
    """The state is locked by a run that is, or may be, alive."""
