"""What a stack has on a Kubernetes cluster: its objects in their order, and the proof that each service serves."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from berth.facts.cluster import ClusterFacts
from berth.kubernetes import Object, filled, generated_names, kserve_version, objects, secret_names
from berth.kubernetes.container import start_budget_s
from berth.kubernetes.services import Service, services
from berth.kubernetes.values import MODEL_LABEL, REVISION_LABEL
from berth.planner.plan import ClusterPlan, Plan, revision_name
from berth.provider.kubernetes.seen import SPECIFICATION
from berth.provider.operations.key import KeyWant
from berth.provider.operations.serving import ServingWant
from berth.provider.operations.takeover import Known, TakeoverWant
from berth.provider.resources.serving import Key, Serving, Takeover
from components.cluster_proof import ClusterGateway, ServiceProof
from components.proof import together

FIELD_MANAGER = "berth"
"""Who owns the fields of our objects, as `kubectl get --show-managed-fields` tells."""

_SERVICES = ("InferenceService", "LLMInferenceService")
_ELSEWHERE = ("Service", "Ingress")
"""Not waited for: whether they lead anywhere is asked of the pods behind them.

The address of an Ingress is for a controller to write, and not every one does.
"""


class ClusterServing(pulumi.ComponentResource):
    """All objects of a stack on one cluster, under one provider of Pulumi's for it.

    `services` are those that serve, by name; `results` what their proof measured, and the gateway's, by test.
    """

    gateway: ClusterGateway | None = None

    def __init__(
        self, plan: Plan, cluster: ClusterPlan, facts: ClusterFacts | None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("berth:index:Cluster", cluster.name, None, opts)
        self._cluster = cluster
        self._provider = self._connect()
        self.services: dict[str, Serving] = {}
        self._keys = dict(self._client_keys(plan))
        release = facts.kserve if facts is not None else None
        known = {one.name: one for one in services(plan, cluster.name, kserve_version(cluster, release))}
        proofs: dict[str, ServiceProof] = {}
        found = marked(objects(plan, cluster.name, release))
        first = [self._takeover(plan, found)] if cluster.adopt else []
        made: list[tuple[Object, _Declared]] = []
        for one in found:
            needs: list[pulumi.Resource] = [*first, *(resource for other, resource in made if _needs(one, other))]
            if MODEL_LABEL not in one["metadata"]["labels"]:
                # The gateway: requests come when all that may get some is proved.
                needs += [*self.services.values(), *(proof.proved for proof in proofs.values())]
            resource = self._declare(one, needs)
            made.append((one, resource))
            if one["kind"] in _SERVICES:
                name = one["metadata"]["name"]
                self.services[name] = serving = self._serving(known[name], one, resource)
                about = {"specification": _mark(one), "generation": _generation(resource)}
                opts = pulumi.ResourceOptions(parent=self)
                proofs[name] = ServiceProof(plan, known[name], serving, about, opts)
        if plan.gateway is not None and plan.gateway.host == cluster.name:
            self.gateway = self._gateway(plan, list(known.values()), made, proofs)
            self.results = self.gateway.results
        else:
            tests = {test for proof in proofs.values() for test in proof.results}
            parts = {test: [one.results[test] for one in proofs.values() if test in one.results] for test in tests}
            self.results = {test: together(found) for test, found in parts.items()}
        self.register_outputs({})

    def _client_keys(self, plan: Plan) -> Iterator[tuple[str, pulumi.Output[str]]]:
        """The value of each client's key where the gateway is here: from Pulumi's configuration, or generated.

        Before keys were generated here, one that the file does not name (`default`, `proof`) was the secret of its
        client's name: where there is one, it stays that.
        """
        here = plan.gateway is not None and plan.gateway.host == self._cluster.name
        for key in plan.gateway.keys if plan.gateway is not None and here else ():
            opts = pulumi.ResourceOptions(parent=self)
            if key.secret is not None:
                yield key.name, pulumi.Config().require_secret(key.secret)
            elif (kept := pulumi.Config().get_secret(key.name)) is not None:
                yield key.name, kept
            else:
                yield key.name, Key(f"key-{key.name}", KeyWant(host=self._cluster.name, name=key.name), opts).value

    def _takeover(self, plan: Plan, found: Sequence[Object]) -> Takeover:
        """What others have set of our objects becomes ours before anything is applied."""
        inside = [one for one in found if "namespace" in one["metadata"]]
        known = [Known(api_version=one["apiVersion"], kind=one["kind"], name=one["metadata"]["name"]) for one in inside]
        want = TakeoverWant(
            host=self._cluster.name,
            namespace=self._cluster.namespace,
            stack=plan.stack,
            manager=FIELD_MANAGER,
            objects=tuple(known),
            declared={f"{one['kind']}/{one['metadata']['name']}": one for one in inside if "stringData" not in one},
        )
        return Takeover(f"{self._cluster.name}-takeover", want, pulumi.ResourceOptions(parent=self))

    def _gateway(
        self,
        plan: Plan,
        there: Sequence[Service],
        made: Sequence[tuple[Object, _Declared]],
        proofs: Mapping[str, ServiceProof],
    ) -> ClusterGateway:
        """What is asked of the gateway once its objects are there."""
        assert plan.gateway is not None  # noqa: S101 -- the caller has looked
        mine = [(one, resource) for one, resource in made if MODEL_LABEL not in one["metadata"]["labels"]]
        (deployment,) = (resource for one, resource in mine if one["kind"] == "Deployment")
        route = next((resource for one, resource in mine if one["kind"] == "Route"), None)
        names = {one.name: revision_name(one.replica.model, one.replica.revision) for one in there}
        return ClusterGateway(
            plan,
            plan.gateway,
            self._cluster,
            there,
            [resource for _, resource in mine],
            keys=self._keys,
            about={"deployment": _generation(deployment)},
            loaded={names[name]: one.results["load"] for name, one in proofs.items() if "load" in one.results},
            given=route.spec.apply(lambda spec: spec.get("host")) if route is not None else None,
            opts=pulumi.ResourceOptions(parent=self),
        )

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
        keys = {name: self._keys[name] for name in sorted(set(generated_names(one)))}
        # As `data`, which the API server gives back: of `stringData` no change by hand would be seen.
        del found["stringData"]
        known = pulumi.Output.all(pulumi.Output.all(**values), pulumi.Output.all(**keys))
        found["data"] = pulumi.Output.secret(known.apply(lambda both: _data(one, *both)))
        return found

    def _serving(self, service: Service, one: Object, resource: _Declared) -> Serving:
        return Serving(
            f"{self._cluster.name}-{service.name}",
            ServingWant(
                host=self._cluster.name,
                namespace=self._cluster.namespace,
                service=service.name,
                service_kind=one["kind"],
                api_version=one["apiVersion"],
                specification=_mark(one),
                models=service.names,
                port=service.port,
                parked=service.pod.parked,
                timeout_s=start_budget_s(service) + _AROUND_S,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[resource]),
            # So that a service that was changed by hand, and is put back, is proved again.
            {"generation": _generation(resource)},
        )


class _Declared(pulumi.CustomResource):
    metadata: pulumi.Output[Mapping[str, Any]]
    spec: pulumi.Output[Mapping[str, Any]]


def _generation(resource: _Declared) -> pulumi.Output[int]:
    return resource.metadata.apply(lambda about: int(about.get("generation", 0)))


def _mark(one: Object) -> str:
    """What the pods of a service are marked with."""
    found: str = _pods(one).get("annotations", {}).get(SPECIFICATION, "")
    return found


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


def _data(one: Object, values: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    texts = filled(one, values, keys)["stringData"]
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
