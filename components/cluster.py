"""What a stack has on a Kubernetes cluster: its objects in their order, and the proof that each service serves."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from berth.facts.cluster import ClusterFacts
from berth.kubernetes import Object, filled, kserve_version, objects, secret_names
from berth.kubernetes.container import start_budget_s
from berth.kubernetes.services import Service, services
from berth.kubernetes.values import MODEL_LABEL, REVISION_LABEL
from berth.planner.plan import ClusterPlan, Plan
from berth.provider.kubernetes.seen import SPECIFICATION
from berth.provider.operations.serving import ServingWant
from berth.provider.resources.serving import Serving

FIELD_MANAGER = "berth"
"""Who owns the fields of our objects, as `kubectl get --show-managed-fields` tells."""

_SERVICES = ("InferenceService", "LLMInferenceService")
_ELSEWHERE = ("Service", "Ingress")
"""Not waited for: whether they lead anywhere is asked of the pods behind them.

The address of an Ingress is for a controller to write, and not every one does.
"""


class ClusterServing(pulumi.ComponentResource):
    """All objects of a stack on one cluster, under one provider of Pulumi's for it.

    `services` are the proofs by the names of the services.
    """

    def __init__(
        self, plan: Plan, cluster: ClusterPlan, facts: ClusterFacts | None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("berth:index:Cluster", cluster.name, None, opts)
        self._cluster = cluster
        self._provider = self._connect()
        self.services: dict[str, Serving] = {}
        release = facts.kserve if facts is not None else None
        known = {one.name: one for one in services(plan, cluster.name, kserve_version(cluster, release))}
        made: list[tuple[Object, pulumi.Resource]] = []
        for one in marked(objects(plan, cluster.name, release)):
            needs = [resource for other, resource in made if _needs(one, other)]
            if MODEL_LABEL not in one["metadata"]["labels"]:
                needs += self.services.values()  # the gateway: requests come when all that may get some is proved
            resource = self._declare(one, needs)
            made.append((one, resource))
            if one["kind"] in _SERVICES:
                name = one["metadata"]["name"]
                self.services[name] = self._proof(known[name], one, resource)
        self.register_outputs({})

    def _connect(self) -> kubernetes.Provider:
        secret = self._cluster.kubeconfig
        return kubernetes.Provider(
            f"{self._cluster.name}-kubernetes",
            kubernetes.ProviderArgs(
                kubeconfig=pulumi.Config().require_secret(secret) if secret is not None else None,
                context=self._cluster.context,
                # A renewed certificate or a moved address is no other cluster, so that nothing is replaced by it.
                cluster_identifier=self._cluster.name,
                enable_server_side_apply=True,
                # Names are fixed, so that a changed secret is changed in place and not deleted first.
                enable_config_map_mutable=True,
                enable_secret_mutable=True,
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _declare(self, one: Object, needs: Sequence[pulumi.Resource]) -> _Declared:
        """One object. The SDK's own classes are left alone: they rename keys, which are data here."""
        version = one["apiVersion"] if "/" in one["apiVersion"] else f"core/{one['apiVersion']}"
        about = one["metadata"]
        return _Declared(
            f"kubernetes:{version}:{one['kind']}",
            f"{self._cluster.name}-{one['kind'].lower()}-{about['name']}",
            self._properties(one),
            pulumi.ResourceOptions(parent=self, provider=self._provider, depends_on=list(needs)),
        )

    def _properties(self, one: Object) -> dict[str, Any]:
        about = one["metadata"]
        # Whose an object is has been looked at before, so that what others write into it is put back.
        own = {"pulumi.com/patchForce": "true", "pulumi.com/patchFieldManager": FIELD_MANAGER}
        if one["kind"] in _ELSEWHERE:
            own["pulumi.com/skipAwait"] = "true"
        found = {**one, "metadata": {**about, "annotations": {**about.get("annotations", {}), **own}}}
        names = sorted(set(secret_names(one)))
        if "stringData" not in one:
            return found
        values = {name: pulumi.Config().require_secret(name) for name in names}
        # As `data`, which the API server gives back: of `stringData` no change by hand would be seen.
        del found["stringData"]
        found["data"] = pulumi.Output.secret(pulumi.Output.all(**values).apply(lambda known: _data(one, known)))
        return found

    def _proof(self, service: Service, one: Object, resource: _Declared) -> Serving:
        return Serving(
            f"{self._cluster.name}-{service.name}",
            ServingWant(
                host=self._cluster.name,
                namespace=self._cluster.namespace,
                service=service.name,
                service_kind=one["kind"],
                api_version=one["apiVersion"],
                specification=_pods(one).get("annotations", {}).get(SPECIFICATION, ""),
                models=service.names,
                port=service.port,
                parked=service.pod.parked,
                timeout_s=start_budget_s(service) + _AROUND_S,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[resource]),
            # So that a service that was changed by hand, and is put back, is proved again.
            {"generation": resource.metadata.apply(lambda about: about.get("generation", 0))},
        )


class _Declared(pulumi.CustomResource):
    metadata: pulumi.Output[Mapping[str, Any]]


_AROUND_S = 900
"""Beside the start itself: a node that is made first, an image of 10 GB, a download."""


def marked(found: Sequence[Object]) -> Sequence[Object]:
    """The objects, with each service's pods marked by what they are made from: its own specification and its runtime's.

    KServe tells of no service which declaration its status is about; the pods then do.
    """
    runtimes = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "ServingRuntime"}
    return [_marked(one, runtimes) if one["kind"] in _SERVICES else one for one in found]


def _marked(one: Object, runtimes: Mapping[str, Object]) -> Object:
    if one["kind"] == "LLMInferenceService" and one["apiVersion"].endswith("v1alpha1"):
        return one  # there was no place yet from which its pods get anything
    pods = _pods(one)
    text = json.dumps([one["spec"], runtimes.get(pods.get("model", {}).get("runtime", ""))], sort_keys=True)
    mark = {SPECIFICATION: hashlib.sha256(text.encode()).hexdigest()[:12]}
    found = {**pods, "annotations": {**pods.get("annotations", {}), **mark}}
    spec = {**one["spec"], "predictor": found} if one["kind"] == "InferenceService" else found
    return {**one, "spec": spec}


def _pods(one: Object) -> Object:
    """The part of a service whose annotations its pods get."""
    found: Object = one["spec"]["predictor"] if one["kind"] == "InferenceService" else one["spec"]
    return found


def _needs(one: Object, other: Object) -> bool:
    """Whether an object must be there before another: a namespace before all, what pods refer to before their maker."""
    if other["kind"] == "Namespace":
        return True
    if one["kind"] not in {*_SERVICES, "Deployment"} or other["kind"] in {*_SERVICES, "Deployment", *_ELSEWHERE}:
        return False
    mine, theirs = (part["metadata"]["labels"] for part in (one, other))
    return all(theirs.get(label) in {None, mine.get(label)} for label in (MODEL_LABEL, REVISION_LABEL))


def _data(one: Object, values: Mapping[str, str]) -> dict[str, str]:
    texts = filled(one, values)["stringData"]
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
