"""Where weights come from, as the plan says it."""

from __future__ import annotations

from dataclasses import replace

from berth.engines import random_model
from berth.planner.notes import refusal
from berth.planner.plan import HubWeights, Note, OciWeights, PathWeights, PvcWeights, RandomWeights, S3Weights, Weights
from berth.spec.problems import nearest
from berth.spec.sources import Source


def weights_of(source: Source, where: str, notes: list[Note]) -> Weights:
    """Where a model's weights come from, as the plan says it."""
    if source.hub is not None:
        return hub_weights(source)
    if source.path is not None:
        return PathWeights(path=source.path)
    if source.s3 is not None:
        return S3Weights(url=source.s3, connection=source.connection)
    if source.oci is not None:
        return OciWeights(image=source.oci)
    if source.pvc is not None:
        claim, _, path = source.pvc.strip("/").partition("/")
        return PvcWeights(claim=claim, path=path)
    shape = str(source.random)
    if shape not in random_model.SHAPES:
        near = nearest(shape, random_model.SHAPES)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(random_model.SHAPES)}"
        notes.append(refusal(f"{where}.source.random", f"is {shape}, must be a random model that Berth knows; {hint}"))
    return RandomWeights(shape=shape)


def hub_weights(source: Source) -> HubWeights:
    """A repository of a hub at its commit."""
    weights = HubWeights(repo=str(source.hub), revision=str(source.revision), token=source.token)
    return replace(weights, endpoint=source.endpoint) if source.endpoint is not None else weights
