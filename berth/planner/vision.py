"""Vision models: one image in a prompt where the stack file says no number, so that no request takes all there is.

An image takes hundreds to thousands of tokens of the context and a run of the vision tower; what engines allow by
themselves differs by release, from one to 999.
"""

from __future__ import annotations

from collections.abc import Mapping

from berth.catalogue.engine_versions import flags, newest
from berth.catalogue.models import ModelShape
from berth.planner.notes import remark
from berth.planner.placement import where_of
from berth.planner.plan import Note
from berth.spec.models import Revision
from berth.spec.stack import Stack

_FLAGS = {"vllm": "limit-mm-per-prompt", "sglang": "limit-mm-data-per-request"}

_IMAGES = 1


def with_limited_images(stack: Stack, shapes: Mapping[tuple[str, str], ModelShape | None], notes: list[Note]) -> Stack:
    """The stack with a limit for each vision model that says none; what is adopted stays as it runs."""
    models = {}
    for name, model in stack.models.items():
        limited = {}
        for revision, said in model.revisions.items():
            shape = shapes[name, revision]
            if shape is None or shape.vision is None or not _unlimited(said):
                continue
            limited[revision] = said.model_copy(update={"images_per_prompt": _IMAGES})
            where = f"{where_of(name, model, revision)}.images_per_prompt"
            text = f"is not said, {_IMAGES} is taken: each image takes tokens of the context; write more where needed"
            notes.append(remark(where, text))
        if limited:
            models[name] = model.model_copy(update={"revisions": {**model.revisions, **limited}})
    return stack.model_copy(update={"models": {**stack.models, **models}}) if models else stack


def _unlimited(said: Revision) -> bool:
    """Whether nothing limits the images, and the engine's release has the flag that does."""
    if said.images_per_prompt is not None or said.task != "generate" or said.adopt is not None:
        return False
    name = _FLAGS.get(said.engine.name)
    version = said.engine.version or newest(said.engine.name, said.engine.device or "cuda")
    return name is not None and flags(said.engine.name, version).find(name) is not None
