"""A whole stack: every part of the plan as resources, in their order."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pulumi

from berth.planner.plan import HostPlan, Local, PathWeights, Plan
from berth.provider.facts import FACTS
from berth.provider.operations.smoke_test import SmokeTestWant
from berth.provider.resources import SmokeTest
from components.gateway import Gateway
from components.host import HostBase, HostPlace
from components.inference_server import InferenceServer

_SHOWN = 32
"""A program that ends with this status has said what is wrong; Pulumi's language host adds nothing to it."""


def refuse(found: Sequence[str]) -> NoReturn:
    """Ends the program with a line for each problem and nothing else."""
    for line in found:
        pulumi.log.error(line)
    sys.exit(_SHOWN)


def problems(plan: Plan, project: Path) -> list[str]:
    """What is not here although the plan needs it: a line each, before anything is declared."""
    config = pulumi.Config()
    missing = [
        f"secret {name}: it has no value; set one with `pulumi config set --secret {name}`"
        for name in sorted(plan.secrets)
        if not config.get(name)
    ]
    gone = [
        f"models.{replica.model}.source.path: {replica.weights.path} is no folder with a config.json on this machine; "
        "give the folder of a model"
        for replica in plan.replicas
        if isinstance(replica.weights, PathWeights)
        and isinstance(plan.hosts[replica.host].connection, Local)
        and not (project / Path(replica.weights.path).expanduser() / "config.json").is_file()
    ]
    return [*missing, *gone]


def build(plan: Plan, project: Path) -> Mapping[str, Any]:
    """Declares everything; returns the stack's outputs. Relative paths are relative to the project."""
    hosts = _hosts(plan, project)
    gateway_plan = plan.gateway
    servers = {
        replica.name: InferenceServer(replica.name, replica, hosts[replica.host], gateway_plan)
        for replica in plan.replicas
    }
    if gateway_plan is None:
        return {"models": sorted({replica.model for replica in plan.replicas})}
    gateway = Gateway("gateway", gateway_plan, hosts[gateway_plan.host], list(servers.values()))
    key = next(iter(gateway.keys.values()), pulumi.Output.from_input(""))
    smoke = SmokeTest(
        "smoke",
        SmokeTestWant(
            host=gateway_plan.host,
            port=gateway_plan.port,
            prompts={smoke.model: list(smoke.prompts) for smoke in plan.smoke},
            timeout_s=max((smoke.timeout_s for smoke in plan.smoke), default=60),
        ),
        pulumi.ResourceOptions(depends_on=[gateway.ready]),
        late={"key": key, "after": {name: server.replica.pid for name, server in servers.items()}},
    )
    return {
        "url": f"http://{gateway_plan.bind}:{gateway_plan.port}/v1",
        "models": [model.name for model in gateway_plan.models],
        "keys": pulumi.Output.secret(dict(gateway.keys)),
        "smoke": smoke.results,
    }


def _hosts(plan: Plan, project: Path) -> dict[str, HostBase]:
    """The hosts, under one provider for all of them: their connections are its configuration, not the resources'."""
    settings = {name: _settings(_workspace(plan.stack, host, project)) for name, host in plan.hosts.items()}
    provider = pulumi.ProviderResource("berth", "berth", {"hosts": json.dumps(settings)})
    pulumi.runtime.register_stack_transformation(lambda args: _with_provider(args, provider))
    made = {}
    for name, host in plan.hosts.items():
        init = host.init
        if init == "auto":
            facts = pulumi.runtime.invoke(FACTS, {"host": name}, pulumi.InvokeOptions(provider=provider)).value
            init = facts["init"]
        place = HostPlace(
            plan=host, stack=plan.stack, project=project, workspace=_workspace(plan.stack, host, project), init=init
        )
        made[name] = HostBase(name, place)
    return made


def _with_provider(
    args: pulumi.ResourceTransformationArgs, provider: pulumi.ProviderResource
) -> pulumi.ResourceTransformationResult | None:
    """Gives every resource of ours the one provider, so that nobody has to hand it through."""
    if args.resource is provider or not args.type_.startswith("berth:"):
        return None
    mine = pulumi.ResourceOptions(provider=provider)
    return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, mine))


def _settings(workspace: str) -> Mapping[str, Any]:
    return {"connection": "local", "workspace": workspace}


def _workspace(stack: str, host: HostPlan, project: Path) -> str:
    """The absolute folder of this stack on a host; a relative root is relative to the project."""
    return str(project / Path(host.root).expanduser() / stack)
