"""A whole stack: every part of the plan as resources, in their order."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pulumi

from berth.planner.plan import HostPlan, Local, PathWeights, Plan, Ssh
from berth.provider.facts import FACTS
from components.gateway import Gateway
from components.host import HostBase, HostPlace, absolute
from components.inference_server import InferenceServer
from components.proof import Proof

_PUBLIC = "berth-dev"
"""The passphrase of the dev stack, which its committed salt makes known to everybody."""

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
    settings = project / f"Pulumi.{plan.stack}.yaml"
    salted = settings.is_file() and "encryptionsalt:" in settings.read_text()
    if plan.stack != "dev" and salted and os.environ.get("PULUMI_CONFIG_PASSPHRASE") == _PUBLIC:
        must = f"set PULUMI_CONFIG_PASSPHRASE, remove encryptionsalt from {settings.name}, set the secrets again"
        return [f"stack {plan.stack}: its secrets have the dev stack's public passphrase, must have their own; {must}"]
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
    proof = Proof("proof", plan, gateway, servers)
    return {
        "url": f"http://{gateway_plan.bind}:{gateway_plan.port}/v1",
        "models": [model.name for model in gateway_plan.models],
        "keys": pulumi.Output.secret(dict(gateway.keys)),
        **proof.results,
    }


def _hosts(plan: Plan, project: Path) -> dict[str, HostBase]:
    """The hosts, under one provider for all of them: their connections are its configuration, not the resources'."""
    settings = {name: host_settings(host, plan.stack, project) for name, host in plan.hosts.items()}
    text = json.dumps(settings)
    guarded = any(isinstance(host.connection, Ssh) and host.connection.sudo_password for host in plan.hosts.values())
    # it lies in the state as the provider's configuration
    provider = pulumi.ProviderResource("berth", "berth", {"hosts": pulumi.Output.secret(text) if guarded else text})
    pulumi.runtime.register_stack_transformation(lambda args: _with_provider(args, provider))
    facts = _facts(plan, provider)
    made = {}
    for name, host in plan.hosts.items():
        remote = isinstance(host.connection, Ssh)
        home = facts[name]["home"] if remote else str(Path.home())
        folder = home if remote else str(project)
        workspace = absolute(f"{host.root}/{plan.stack}", folder=folder, home=home)
        init = facts[name]["init"] if host.init == "auto" else host.init
        place = HostPlace(plan=host, stack=plan.stack, folder=folder, home=home, workspace=workspace, init=init)
        made[name] = HostBase(name, place)
    return made


def _facts(plan: Plan, provider: pulumi.ProviderResource) -> Mapping[str, Any]:
    """What the plan cannot know of the hosts, asked of all at once."""
    names = [name for name, host in plan.hosts.items() if host.init == "auto" or isinstance(host.connection, Ssh)]
    if not names:
        return {}
    facts: dict[str, Any] = pulumi.runtime.invoke(
        FACTS, {"hosts": names}, pulumi.InvokeOptions(provider=provider)
    ).value
    if problems := [said["problem"] for said in facts.values() if "problem" in said]:
        refuse(problems)
    return facts


def _with_provider(
    args: pulumi.ResourceTransformationArgs, provider: pulumi.ProviderResource
) -> pulumi.ResourceTransformationResult | None:
    """Gives every resource of ours the one provider, so that nobody has to hand it through."""
    if args.resource is provider or not args.type_.startswith("berth:"):
        return None
    mine = pulumi.ResourceOptions(provider=provider)
    return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, mine))


def host_settings(host: HostPlan, stack: str, project: Path) -> Mapping[str, Any]:
    """How the provider reaches a host; over SSH, a workspace in a home that is not known yet is relative to it."""
    match host.connection:
        case Local():
            home = str(Path.home())
            workspace = absolute(f"{host.root}/{stack}", folder=str(project), home=home)
            return {"connection": "local", "workspace": workspace}
        case Ssh() as ssh:
            said = {key: value for key, value in dataclasses.asdict(ssh).items() if value is not None}
            if ssh.key_file is not None:
                said["key_file"] = str(project / Path(ssh.key_file).expanduser())
            if ssh.sudo_password is not None:
                said["sudo_password"] = pulumi.Config().require(ssh.sudo_password)
            workspace = absolute(f"{host.root}/{stack}", folder="", home=".")
            return {"connection": {"ssh": said}, "workspace": workspace}
