"""Asks all hosts of a stack what they are, at once, and diagnoses them: nothing is changed anywhere."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from berth.doctor import Diagnosis, diagnose
from berth.facts import HostFacts
from berth.lifecycle import ready
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import Project
from berth.planner.hosts import host_plan
from berth.planner.plan import HostPlan, Ssh
from berth.planner.planning import plan as decide
from berth.provider.facts import gather_all
from berth.provider.host import Hosts, HostSettings
from berth.spec import load
from components.observed import Observed, host_settings

Secret = Callable[[str], str]
"""The value of a secret by its name."""


def examine(
    path: Path, profile: str | None = None, project: Path | None = None, secret: Secret | None = None
) -> Diagnosis:
    """Diagnoses the stack of a file.

    Args:
        path: the stack file.
        profile: which of the models' shares applies; None takes the file's own.
        project: the folder to which paths are relative; None takes the one that this package belongs to.
        secret: looks secrets up; None asks Pulumi's configuration of the stack.

    Raises:
        SpecError: the file is no stack file.
    """
    stack, name = load(path), path.stem
    project = project or Project.here().root
    hosts = {host: host_plan(host, settings) for host, settings in stack.hosts.items()}
    facts, problems = asyncio.run(_ask(hosts, name, project, secret or _from_pulumi(name)))
    planned = Observed(facts=facts).planned(hosts, name, project)
    return diagnose(decide(stack, name, profile, facts=planned), planned, problems)


async def _ask(
    hosts: Mapping[str, HostPlan], stack: str, project: Path, secret: Secret
) -> tuple[Mapping[str, HostFacts], Mapping[str, str]]:
    """The facts of the hosts that were reached, and why others were not."""
    settings, problems = dict[str, HostSettings](), dict[str, str]()
    for name, host in hosts.items():
        try:
            settings[name] = _settings(host, stack, project, secret)
        except LifecycleError as error:
            problems[name] = " ".join(str(error).split())
    known = Hosts(settings)
    try:
        answers = await gather_all([known.reader(name) for name in settings])
    finally:
        await known.close()
    problems |= {name: answer["problem"] for name, answer in answers.items() if "problem" in answer}
    facts = {
        name: HostFacts.model_validate_json(answer["facts"]) for name, answer in answers.items() if "facts" in answer
    }
    return facts, problems


def _settings(host: HostPlan, stack: str, project: Path, secret: Secret) -> HostSettings:
    way = host.connection
    if not isinstance(way, Ssh) or way.sudo_password is None:
        return HostSettings.model_validate(host_settings(host, stack, project))
    open_way = dataclasses.replace(host, connection=dataclasses.replace(way, sudo_password=None))
    said = dict(host_settings(open_way, stack, project))
    said["connection"] = {"ssh": {**said["connection"]["ssh"], "sudo_password": secret(way.sudo_password)}}
    return HostSettings.model_validate(said)


def _from_pulumi(stack: str) -> Secret:
    def secret(name: str) -> str:
        try:
            return ready(Project.here(), stack).call("config", "get", name).rstrip("\n")
        except LifecycleError as error:
            why = str(error).strip().splitlines()[-1]
            raise LifecycleError(
                f"the secret {name} cannot be read: {why}; set it with `pulumi config set --secret {name}`"
            ) from None

    return secret
