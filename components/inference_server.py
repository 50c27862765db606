"""One replica: its weights, its engine's environment, and the engine, served through the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi

from berth.engines.registry import ENGINES
from berth.planner.plan import (
    ExistingEngine,
    GatewayPlan,
    HubWeights,
    ImageEngine,
    PathWeights,
    PythonPackages,
    RandomWeights,
    ReplicaPlan,
    S3Weights,
    SmokePlan,
)
from berth.provider.docker.container import Container
from berth.provider.operations.bucket_model import BucketModelWant
from berth.provider.operations.hub_model import HubModelWant
from berth.provider.replica import ReplicaWant
from berth.provider.resources.host import BucketModel, HubModel
from berth.provider.resources.serving import Replica
from components.adopted_server import adopted_replica
from components.docker import container
from components.host import HostBase
from components.place import HostPlace
from components.traffic import traffic

_LOCKS = "/run/lock"
"""World-writable on every Linux that follows the Filesystem Hierarchy Standard, and gone after a boot."""


_AWS = "https://s3.amazonaws.com"
"""Where public buckets are, which need no connection."""


class InferenceServer(pulumi.ComponentResource):
    """A replica of the plan on its host; started after `earlier`, those on its cards that the plan starts earlier.

    `smoke` is what its engine must answer before any request reaches it. Of a `parked` one there is all but the engine,
    so that it starts without a download.
    """

    replica: Replica

    def __init__(
        self,
        name: str,
        plan: ReplicaPlan,
        host: HostBase,
        gateway: GatewayPlan | None,
        opts: pulumi.ResourceOptions | None = None,
        *,
        earlier: Sequence[pulumi.Resource] = (),
        smoke: SmokePlan | None = None,
        parked: bool = False,
    ) -> None:
        super().__init__("berth:index:InferenceServer", name, None, opts)
        self.plan = plan
        self.image = plan.engine.installation.image if isinstance(plan.engine.installation, ImageEngine) else ""
        self._host = host
        needs: list[pulumi.Resource] = [*host.services, *earlier]
        if plan.engine.device == "cuda":
            needs += host.gpus_ready
        if host.place.plan.runtime == "docker":
            needs += host.runtime_ready
        environment = self._environment(needs)
        weights, folder = self._weights(needs, environment)
        adapters: dict[str, pulumi.Input[str]] = {path: host.place.absolute(path) for path in plan.adapters}
        for key, held in plan.hub_adapters.items():
            adapters[key] = self._downloaded(held, needs, environment).path
        arguments = {key: _plain(value) for key, value in plan.arguments.items() if value is not None}
        if parked:
            self.register_outputs({})
            return
        place = host.place
        routed = gateway is not None and gateway.host == plan.host
        engine = ENGINES[plan.engine.name]
        boxed = self._container(folder)
        # In a container there are no other cards than its own, counted from 0.
        cards = plan.cards if boxed is None else range(len(plan.cards))
        variables = engine.environment_variables(
            plan.engine.device, version=plan.engine.version, cards=cards, offline=True
        )
        config = pulumi.Config()
        # An engine that ran before is stopped when all else is there; only then is its port known to be free.
        beside = pulumi.ResourceOptions(parent=self, depends_on=needs)
        taken = adopted_replica(f"{name}-adopted", plan, place, gateway, beside) if plan.adopted else None
        self.replica = Replica(
            name,
            ReplicaWant(
                host=plan.host,
                **place.supervision,
                **place.service_paths(plan.name),
                name=plan.name,
                model=plan.model,
                revision=plan.revision,
                engine=plan.engine.name,
                version=plan.engine.version,
                device=plan.engine.device,
                environment=environment,
                weights="",
                served_names=list(plan.served_names),
                arguments=arguments,
                variables={**place.variables, **variables, **plan.environment},
                port=plan.port,
                locks=[f"{_LOCKS}/berth-{card}.lock" for card in (plan.cards or ("cpu",))],
                start_timeout_s=round(plan.start_timeout_s),
                stop_timeout_s=round(plan.stop_timeout_s),
                **traffic(plan, place, gateway),
                address=plan.address,
                container=boxed,
                **_limits(plan, place),
                on_change=plan.on_change,
                why=plan.why,
                spare_port=plan.spare_port,
                hold_limit_s=round(gateway.hold_limit_s) if routed and gateway else 0,
                instead_of=plan.adopted.container if plan.adopted is not None else "",
                **_proof(smoke),
            ),
            pulumi.ResourceOptions(parent=self, depends_on=needs),
            late={
                "weights": weights,
                **({"arguments": pulumi.Output.all(**adapters).apply(_located(arguments))} if adapters else {}),
                **({"port": taken.freed} if taken is not None else {}),
                **({"image": host.docker.image(boxed.image).content} if boxed is not None else {}),
                "secrets": {name: config.require_secret(secret) for name, secret in plan.secrets.items()},
            },
        )
        self.register_outputs({"port": plan.port})

    def _environment(self, needs: list[pulumi.Resource]) -> str:
        match self.plan.engine.installation:
            case PythonPackages() as packages:
                needs.append(self._host.environment(packages))
                return self._host.place.environment_path(packages)
            case ExistingEngine(path=path):
                return self._host.place.absolute(path)
            case ImageEngine(image=image):
                needs.append(self._host.docker.image(image))
                return ""

    def _container(self, folder: str) -> Container | None:
        """The container that the engine runs in; None for a process."""
        match self.plan.engine.installation:
            case ImageEngine(image=image):
                adapters = [self._host.place.absolute(path) for path in self.plan.adapters]
                downloaded = [self._host.place.hub_cache] if self.plan.hub_adapters else []
                return container(self.plan, image, [folder, *adapters, *downloaded])
            case _:
                return None

    def _weights(self, needs: list[pulumi.Resource], environment: str) -> tuple[pulumi.Input[str], str]:
        """The model folder on the host, known only after its download when it comes from the hub; and what holds it."""
        place = self._host.place
        match self.plan.weights:
            case RandomWeights(shape=shape):
                folder, files = self._host.random_model(shape)
                needs += files
                return folder, folder
            case PathWeights(path=path):
                return place.absolute(path), place.absolute(path)
            case HubWeights() as weights:
                return self._downloaded(weights, needs, environment).path, place.hub_cache
            case S3Weights() as weights:
                model, folder = self._from_bucket(weights, needs, environment)
                return model.path, folder
            case other:
                raise pulumi.RunError(f"models.{self.plan.model}: {type(other).__name__} cannot be applied yet")

    def _downloaded(self, weights: HubWeights, needs: list[pulumi.Resource], environment: str) -> HubModel:
        """A model of the hub, or an adapter."""
        want = HubModelWant(
            host=self.plan.host,
            repo=weights.repo,
            revision=weights.revision,
            endpoint=weights.endpoint,
            cache=self._host.place.hub_cache,
            python=self._python(needs, environment, self._host.place.hub_cache),
        )
        model = self._host.hub_model(want, weights.token, needs)
        needs.append(model)
        return model

    def _from_bucket(
        self, weights: S3Weights, needs: list[pulumi.Resource], environment: str
    ) -> tuple[BucketModel, str]:
        """A model of a bucket and its folder."""
        place = self._host.place
        opened = place.plan.connections.get(weights.connection or "")
        if weights.connection is not None and opened is None:
            text = f"is {weights.connection}, must be one of hosts.{self.plan.host}.connections; declare it there"
            raise pulumi.RunError(f"models.{self.plan.model}.source.connection: {text}")
        url = (
            weights.url if weights.url.startswith("s3://") or opened is None else f"s3://{opened.bucket}/{weights.url}"
        )
        endpoint = (opened.endpoint if opened is not None else _AWS).rstrip("/")
        folder = place.bucket_folder(endpoint, url)
        want = BucketModelWant(
            host=self.plan.host,
            url=url,
            endpoint=endpoint,
            region=opened.region if opened is not None else "us-east-1",
            folder=folder,
            python=self._python(needs, environment, folder),
        )
        keys = (opened.access_key, opened.secret_key) if opened is not None else None
        model = self._host.bucket_model(want, keys, needs)
        needs.append(model)
        return model, folder

    def _python(self, needs: list[pulumi.Resource], environment: str, folder: str) -> str:
        """What downloads a model into a folder: the engine's own Python, or its image's where the host has none."""
        if not isinstance(self.plan.engine.installation, ImageEngine):
            return f"{environment}/bin/python"
        path, file = self._host.docker.python(self.plan.engine.installation.image, folder)
        needs.append(file)
        return path


def _limits(plan: ReplicaPlan, place: HostPlace) -> Mapping[str, Any]:
    """What an engine may use at most where systemd sees to it; a container's limits are the container's."""
    said = plan.instance
    if said is None or place.init != "systemd" or place.plan.runtime != "process":
        return {}
    return {"cpus": said.cpus or 0, "memory": int(said.memory or 0)}


def _proof(smoke: SmokePlan | None) -> Mapping[str, Any]:
    """What a started engine is asked; nothing where the stack file asks nothing of the model."""
    if smoke is None or smoke.asks == "list":
        return {}
    return {"prompts": list(smoke.prompts), "asks": smoke.asks, "answer_timeout_s": smoke.timeout_s}


def _located(arguments: Mapping[str, object]) -> Callable[[Mapping[str, str]], Mapping[str, object]]:
    """The arguments with the folders of downloaded adapters in the place of what stands for them."""

    def word(value: object, folders: Mapping[str, str]) -> object:
        if isinstance(value, list):
            return [word(item, folders) for item in value]
        for key, folder in folders.items() if isinstance(value, str) else ():
            value = str(value).replace(f"={key}", f"={folder}")
        return value

    return lambda folders: {key: word(value, folders) for key, value in arguments.items()}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
