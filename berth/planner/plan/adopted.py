"""What the plan says of an engine that runs already and is taken over as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class AdoptedPlan:
    """A running engine. `container` is its container's name, empty for a process.

    `says` is what the stack file says of it, as far as its command line can say the same; `image` the image that the
    file names, empty where it names none; `card_memory` one card's total as CUDA reports it, in bytes (0: on no card).
    With `take` it is stopped and Berth's own takes its place.
    """

    container: str
    take: bool
    says: Mapping[str, Any]
    image: str = ""
    card_memory: int = 0
