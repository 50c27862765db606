"""A replica's LoRA adapters, as its engine is told of them and as its host downloads them."""

from __future__ import annotations

from collections.abc import Mapping

from berth.engines.contract import Adapter
from berth.planner.placement import Seat
from berth.planner.plan import POD_ADAPTERS, HubWeights
from berth.planner.weights import hub_weights
from berth.spec.sources import Source


def adapters_of(seat: Seat) -> tuple[Adapter, ...]:
    """The LoRA adapters with the folders that the engine reads them from, or keys of `hub_adapters`."""
    held = seat.spec.lora.adapters if seat.spec.lora is not None else ()
    return tuple(
        Adapter(name=one.name, path=f"{POD_ADAPTERS}/{number}" if seat.on_cluster else _adapter(one.source))
        for number, one in enumerate(held)
    )


def hub_adapters(seat: Seat) -> Mapping[str, HubWeights]:
    """The adapters that a host downloads, by what stands for their folders in the arguments."""
    held = seat.spec.lora.adapters if seat.spec.lora is not None and not seat.on_cluster else ()
    return {_adapter(one.source): hub_weights(one.source) for one in held if one.source.hub is not None}


def _adapter(source: Source) -> str:
    return f"{source.hub}@{source.revision}" if source.hub is not None else str(getattr(source, source.kind))
