"""What `GET /v1/models` answers: made from the plan and never from the health of an engine.

A model that is being replaced stays in the list, so that clients which choose from it keep their choice.
"""

from __future__ import annotations

from berth.gateway.names import served_names
from berth.gateway.xds import Json
from berth.planner.plan import ModelRoute, revision_name

_OWNER = "berth"


def models_list(models: tuple[ModelRoute, ...]) -> Json:
    """The list of all served names, aliases included, as OpenAI and vLLM write it."""
    return {"object": "list", "data": [entry for route in models for entry in entries(route)]}


def entries(route: ModelRoute) -> list[Json]:
    """The entries of one model, its own name first, then its revisions where there are several.

    `root` says which model a name stands for. The model's own settings are those of its representative revision.
    """
    found = [_entry(route, name, route.max_model_len) for name in served_names(route)]
    if len(route.revisions) > 1:
        found += [
            _entry(route, revision_name(route.name, share.revision), share.max_model_len) for share in route.revisions
        ]
    return found


def _entry(route: ModelRoute, name: str, max_model_len: int | None) -> Json:
    entry: Json = {
        "id": name,
        "object": "model",
        "created": route.created,
        "owned_by": _OWNER,
        "root": route.name,
        "parent": None,
    }
    if max_model_len is not None:
        entry["max_model_len"] = max_model_len
    return entry
