"""What a cluster lacks for a plan, found before anything is sent; pure. What it does not tell is not judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from berth.facts.cluster import ClusterFacts, Node
from berth.kubernetes import Object, kserve_version, objects, problems
from berth.kubernetes.services import Service, services
from berth.kubernetes.values import STACK_LABEL
from berth.planner.plan import ClusterPlan, Plan, PvcWeights, S3Weights, TolerationPlan

_KNATIVE = "serving.knative.dev/v1/Service"
_GROUPS_OF_PODS = "leaderworkerset.x-k8s.io/v1/LeaderWorkerSet"


def cluster_problems(plan: Plan, found: Mapping[str, ClusterFacts]) -> list[str]:
    """A line for each problem: where, what is, what must be, what to do."""
    return [line for name, facts in found.items() for line in _problems(plan, plan.clusters[name], facts)]


def object_problems(plan: Plan, found: Mapping[str, ClusterFacts]) -> list[str]:
    """What KServe would refuse or drop of the objects of each cluster, answered or not."""
    lines: list[str] = []
    for name, cluster in plan.clusters.items():
        release = found[name].kserve if name in found else None
        lines += problems(objects(plan, name, release), cluster, release)
    return lines


def _problems(plan: Plan, cluster: ClusterPlan, facts: ClusterFacts) -> Iterator[str]:
    where = f"clusters.{cluster.name}"
    wanted = objects(plan, cluster.name, facts.kserve)
    lacking = list(_kinds(where, wanted, facts))
    yield from lacking
    if cluster.mode == "knative" and _KNATIVE not in facts.kinds:
        yield (
            f"{where}.mode: is knative, and the cluster has no Service (serving.knative.dev/v1), must have it; install "
            "Knative Serving there, or leave mode out"
        )
    if any(one["kind"] == "LLMInferenceService" and "worker" in one["spec"] for one in wanted) and (
        _GROUPS_OF_PODS not in facts.kinds
    ):
        yield (
            f"{where}: the cluster has no LeaderWorkerSet (leaderworkerset.x-k8s.io/v1), must have it for replicas on "
            "several nodes; install it there"
        )
    if not facts.namespace and not cluster.create_namespace:
        yield (
            f"{where}.namespace: {cluster.namespace} is not on the cluster, must be; "
            "make it, or say create_namespace: true"
        )
    if lacking or not facts.namespace:
        return  # the rest is in the namespace, or KServe's
    there = list(services(plan, cluster.name, kserve_version(cluster, facts.kserve)))
    yield from _others(where, plan.stack, cluster, wanted, facts)
    for service in there:
        yield from _references(service, wanted, facts)
    yield from _cards(where, there, facts)


def _kinds(where: str, wanted: Sequence[Object], facts: ClusterFacts) -> Iterator[str]:
    """Kinds of objects that the API server does not know: KServe is not installed, or another release of it."""
    for kind in sorted({f"{one['apiVersion']}/{one['kind']}" for one in wanted if "." in one["apiVersion"]}):
        if kind not in facts.kinds:
            group, _, name = kind.rpartition("/")
            product = "KServe" if group.startswith("serving.kserve.io") else "what serves it"
            yield f"{where}: the cluster has no {name} ({group}), must have it; install {product} there"


def _others(
    where: str, stack: str, cluster: ClusterPlan, wanted: Sequence[Object], facts: ClusterFacts
) -> Iterator[str]:
    """Objects of our names that are not this stack's: never taken over silently."""
    if cluster.adopt:
        return
    for one in wanted:
        kind, name = one["kind"], one["metadata"]["name"]
        owner = facts.objects.get(kind, {}).get(name)
        if owner is None or owner == one["metadata"]["labels"][STACK_LABEL] == stack:
            continue
        whose = f"of stack {owner}" if owner else "not of this stack"
        yield (
            f"{where}: {kind} {name} in namespace {cluster.namespace} is there and {whose}; "
            "remove it, rename the model, or say adopt: true to take it over"
        )


def _references(service: Service, wanted: Sequence[Object], facts: ClusterFacts) -> Iterator[str]:
    """What a service names and neither the stack nor the namespace has."""
    model, namespace = f"models.{service.replica.model}", service.cluster.namespace

    def made(kind: str) -> list[str]:
        return [one["metadata"]["name"] for one in wanted if one["kind"] == kind]

    runtime = service.pod.runtime
    runtimes = [*facts.names("ServingRuntime"), *facts.cluster_runtimes]
    if runtime is not None and runtime not in runtimes:
        yield (
            f"{model}.place.runtime: {runtime} is no runtime of namespace {namespace} or the cluster, must be the "
            f"resource name of one{_near(runtime, runtimes)}; leave it out, and Berth makes one"
        )
    weights = service.replica.weights
    connection = weights.connection if isinstance(weights, S3Weights) else None
    if connection and connection not in [*facts.names("Secret"), *made("Secret")]:
        yield (
            f"{model}.source.connection: secret {connection} is not in namespace {namespace}, must be"
            f"{_near(connection, facts.names('Secret'))}; make it, or declare it under "
            f"clusters.{service.cluster.name}.connections"
        )
    if isinstance(weights, PvcWeights) and weights.claim not in facts.names("PersistentVolumeClaim"):
        yield f"{model}.source: volume claim {weights.claim} is not in namespace {namespace}, must be; make it"


def _near(name: str, known: object) -> str:
    near = get_close_matches(name, list(known), 1) if isinstance(known, Sequence | Mapping) else []
    return f" (did you mean {near[0]}?)" if near else ""


def _cards(where: str, there: Sequence[Service], facts: ClusterFacts) -> Iterator[str]:
    """Cards that no node has left, and quotas that have none left; those of this stack's own services are ours."""
    ours = {service.name for service in there}
    left = {node.name: dict(node.free) for node in facts.nodes or ()}
    for node, used in facts.ours.items():
        for name, cards in used.items():
            for resource, amount in cards.items() if name in ours and node in left else ():
                left[node][resource] = left[node].get(resource, 0) + amount
    asked: dict[str, int] = {}
    for service in there:
        pod = service.pod
        if not pod.gpus or pod.parked:
            continue
        asked[pod.resource] = asked.get(pod.resource, 0) + pod.gpus * pod.span * service.count
        placed = sum(_place(service, facts.nodes or (), left) for _ in range(service.count * pod.span)) // pod.span
        if facts.nodes is not None and placed < service.count:
            yield _full(service, placed, facts.nodes, left)
    for quota in facts.quotas:
        resource = quota.resource.removeprefix("requests.")
        mine = sum(use.get(name, {}).get(resource, 0) for use in facts.ours.values() for name in ours)
        free = quota.most - quota.used + mine
        if asked.get(resource, 0) > free:
            yield (
                f"{where}: quota {quota.name} of the namespace leaves {free} of {quota.most} {resource}, "
                f"{asked[resource]} are wanted; raise it, or use fewer replicas"
            )


def _place(service: Service, nodes: Sequence[Node], left: dict[str, dict[str, int]]) -> bool:
    """Gives a replica's cards to the first node that may have it."""
    for node in nodes:
        free = left[node.name].get(service.pod.resource, 0)
        if free >= service.pod.gpus and _fits(service, node):
            left[node.name][service.pod.resource] = free - service.pod.gpus
            return True
    return False


def _fits(service: Service, node: Node) -> bool:
    labelled = all(node.labels.get(key) == value for key, value in service.pod.nodes.items())
    barred = [taint for taint in node.taints if taint.effect != "PreferNoSchedule"]
    tolerated = all(any(_tolerates(one, taint) for one in service.cluster.tolerations) for taint in barred)
    return labelled and tolerated


def _tolerates(one: TolerationPlan, taint: object) -> bool:
    key, value, effect = (getattr(taint, name) for name in ("key", "value", "effect"))
    same = one.operator == "Exists" or one.value == value
    return one.key == key and same and one.effect in {None, effect}


def _full(service: Service, placed: int, nodes: Sequence[Node], left: Mapping[str, Mapping[str, int]]) -> str:
    pod = service.pod
    open_to = [node for node in nodes if _fits(service, node)]
    free = sum(left[node.name].get(pod.resource, 0) for node in open_to)
    with_cards = [node for node in nodes if pod.resource in node.free]
    what = f"models.{service.replica.model} on {service.cluster.name}"
    if not with_cards:
        return f"{what}: no node of the cluster has {pod.resource}; must be some: is its device plugin installed?"
    if not open_to:
        names = ", ".join(node.name for node in with_cards)
        return (
            f"{what}: nodes with {pod.resource} ({names}) have other labels or taints; correct gpus.nodes, tolerations"
        )
    on = "one node" if pod.span == 1 else f"each of {pod.span} nodes"
    return (
        f"{what}: {placed} of {service.count} replicas find {pod.gpus} {pod.resource} on {on}, {free} are left; "
        "park or remove another model, use fewer replicas, or add a node"
    )
