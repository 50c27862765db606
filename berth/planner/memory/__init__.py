"""How much GPU memory a serving takes, term by term, before anything is started.

`predict` is the way in; every term is a function of its own with the source of its formula.
"""

from berth.planner.memory.alternatives import Alternative, alternatives
from berth.planner.memory.cache import kv_bytes_for
from berth.planner.memory.card import Resident, place
from berth.planner.memory.checkpoint import total_of_index, with_total
from berth.planner.memory.predict import largest_context, predict, smallest_share
from berth.planner.memory.serving import Batch, Generation, Lora, Serving, batch_of, default_share, generation_of
from berth.planner.memory.startup import StartupCheck, startup_check
from berth.planner.memory.terms import Footprint, footprint, share_of

__all__ = [
    "Alternative",
    "Batch",
    "Footprint",
    "Generation",
    "Lora",
    "Resident",
    "Serving",
    "StartupCheck",
    "alternatives",
    "batch_of",
    "default_share",
    "footprint",
    "generation_of",
    "kv_bytes_for",
    "largest_context",
    "place",
    "predict",
    "share_of",
    "smallest_share",
    "startup_check",
    "total_of_index",
    "with_total",
]
