"""What `GET /v1/models` answers: made from the plan and never from the health of an engine.

A model that is being replaced stays in the list, so that clients which choose from it keep their choice.
"""

from __future__ import annotations

from berth.gateway.names import served_names
from berth.gateway.xds import Json
from berth.planner.plan import GatewayPlan, ModelRoute

_OWNER = "berth"


def models_list(models: tuple[ModelRoute, ...]) -> Json:
    """The list of all served names, aliases included, as OpenAI and vLLM write it."""
    return {"object": "list", "data": [entry for route in models for entry in entries(route)]}


def entries(route: ModelRoute) -> list[Json]:
    """The entries of one model, its own name first; `root` says which model an alias stands for."""
    return [_entry(route, name) for name in served_names(route)]


def every_entry(plan: GatewayPlan) -> list[Json]:
    """The entries of all models in the plan's order."""
    return [entry for route in plan.models for entry in entries(route)]


def _entry(route: ModelRoute, name: str) -> Json:
    entry: Json = {
        "id": name,
        "object": "model",
        "created": route.created,
        "owned_by": _OWNER,
        "root": route.name,
        "parent": None,
    }
    if route.max_model_len is not None:
        entry["max_model_len"] = route.max_model_len
    return entry
