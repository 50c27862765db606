"""Everything that is wrong with the objects of a cluster, in the stack file's terms, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from berth.kubernetes import rules, shape
from berth.kubernetes.objects import kserve_version
from berth.kubernetes.values import MODEL_LABEL, Object
from berth.planner.plan import ClusterPlan


def problems(found: Sequence[Object], cluster: ClusterPlan, version: str | None = None) -> tuple[str, ...]:
    """One line for each problem: where, what is, what must be, what to do.

    Args:
        found: all objects of the cluster.
        cluster: the cluster as the plan has it.
        version: KServe's release as found there; left out, as for `objects`.
    """
    return tuple(dict.fromkeys(_problems(found, cluster, kserve_version(cluster, version))))


def _problems(found: Sequence[Object], cluster: ClusterPlan, version: tuple[int, int]) -> Iterator[str]:
    oldest = shape.releases()[0]
    if version < oldest:
        has, needs = ".".join(map(str, version)), ".".join(map(str, oldest))
        yield f"clusters.{cluster.name}.version: is {has}, must be {needs} or newer; update KServe there"
    flaws = [tuple(shape.flaws(one, version)) for one in found]
    # Rules read objects as KServe does, so that they are for those that have its form.
    readable = [all(flaw.surplus for flaw in its) for its in flaws]
    sound = [one for one, good in zip(found, readable, strict=True) if good]
    for one, its, good in zip(found, flaws, readable, strict=True):
        broken = rules.problems(one, sound) if good else ()
        for path, text in (*((flaw.where, flaw.text) for flaw in its), *broken):
            yield f"{_place(one, cluster)}: {one['kind']} {one['metadata']['name']} {path} {text}"


def _place(one: Object, cluster: ClusterPlan) -> str:
    """The part of the stack file that an object is made of."""
    model = one["metadata"].get("labels", {}).get(MODEL_LABEL)
    return f"models.{model}" if model is not None else f"clusters.{cluster.name}"
