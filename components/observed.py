"""What the stack's hosts are, asked before anything is planned; the last known facts of one that is not reached."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi

from berth.catalogue.units import Bytes
from berth.facts import HostFacts
from berth.facts.cluster import ClusterFacts
from berth.facts.store import Store, age
from berth.planner.facts import without_own
from berth.planner.notes import warning
from berth.planner.order import Held, held
from berth.planner.plan import ClusterPlan, HostPlan, Local, Note, Ssh
from berth.provider.facts import FACTS
from components.cluster_observed import cluster_settings, observe_clusters
from components.place import HostPlace, absolute


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The hosts as they were found. `away` were not reached; `notes` say why, and what is used instead.

    `lacking` is a problem for each host of which nothing is known: nothing on it can be declared, and nothing of it may
    be deleted. `clusters` are those that answered.
    """

    facts: Mapping[str, HostFacts]
    clusters: Mapping[str, ClusterFacts] = dataclasses.field(default_factory=dict)
    away: frozenset[str] = frozenset()
    notes: tuple[Note, ...] = ()
    lacking: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def planned(self, hosts: Mapping[str, HostPlan], stack: str, project: Path) -> Mapping[str, HostFacts]:
        """What the planner is given: the machines without what this stack's own engines use there."""
        found = {}
        for name, facts in self.facts.items():
            place = place_of(hosts[name], stack, project, facts)
            found[name] = without_own(facts, f"{place.workspace}/logs", place.unit_prefix)
        return found

    def held(self, hosts: Mapping[str, HostPlan], stack: str, project: Path) -> Held:
        """What this stack's own engines hold of the cards."""
        found: dict[tuple[str, str, int], Bytes] = {}
        for name, facts in self.facts.items():
            place = place_of(hosts[name], stack, project, facts)
            own = held(facts, f"{place.workspace}/logs", place.unit_prefix)
            found |= {(name, replica, card): size for (replica, card), size in own.items()}
        return found


def observe(
    hosts: Mapping[str, HostPlan],
    stack: str,
    project: Path,
    unasked: str = "",
    clusters: Mapping[str, ClusterPlan] | None = None,
) -> Observed:
    """Asks all hosts at once, and all clusters, under the one provider that all resources of the stack have.

    Args:
        hosts: how each is reached.
        stack: the stack's name.
        project: its folder; each look is kept there.
        unasked: why nobody is asked, where that is so.
        clusters: how each is reached.
    """
    store, said = Store(project, stack), dict[str, Mapping[str, str]]()
    if not unasked:
        provider = _provider(hosts, stack, project, clusters or {})
        options = pulumi.InvokeOptions(provider=provider)
        if hosts:
            said = pulumi.runtime.invoke(FACTS, {"hosts": sorted(hosts)}, options).value
    facts, notes, lacking = dict[str, HostFacts](), list[Note](), dict[str, str]()
    for name in hosts:
        answer = said.get(name, {})
        if "facts" in answer:
            facts[name] = HostFacts.model_validate_json(answer["facts"])
            store.keep(name, facts[name])
            continue
        why = f"not reached ({answer['problem'].removeprefix(f'{name}: ')})" if answer else f"not asked ({unasked})"
        notes += _known(name, why, store, facts)
        if name not in facts and answer:
            lacking[name] = (
                f"hosts.{name}: {why}, and nothing is known of it from before; make it reachable, or bring "
                f"stacks/facts/{stack}/{name}.json from where it is (berth facts {name} --stack {stack})"
            )
    away = frozenset(name for name, answer in said.items() if "facts" not in answer)
    found = observe_clusters(clusters, options) if clusters and not unasked else {}
    for name, cluster in found.items():
        if isinstance(cluster, str) and pulumi.runtime.is_dry_run():
            notes.append(warning(f"clusters.{name}", f"{cluster}; previewed without looking at what is there"))
        elif isinstance(cluster, str):
            lacking[f"cluster {name}"] = f"clusters.{name}: {cluster}"
    answered = {name: cluster for name, cluster in found.items() if isinstance(cluster, ClusterFacts)}
    return Observed(facts=facts, clusters=answered, away=away, notes=tuple(notes), lacking=lacking)


def _known(name: str, why: str, store: Store, facts: dict[str, HostFacts]) -> Sequence[Note]:
    """Takes the last known facts of a host, and says so."""
    problems: list[str] = []
    known = store.last_known(name, problems)
    notes = [warning(f"hosts.{name}", problem) for problem in problems]
    if known is None:
        return notes
    facts[name] = known
    return [*notes, warning(f"hosts.{name}", f"{why}; planned with facts of {age(known, datetime.now(UTC))} ago")]


def place_of(host: HostPlan, stack: str, project: Path, facts: HostFacts) -> HostPlace:
    """Where things go on a host that was found."""
    remote = isinstance(host.connection, Ssh)
    home = facts.home if remote else str(Path.home())
    folder = home if remote else str(project)
    workspace = absolute(f"{host.root}/{stack}", folder=folder, home=home)
    init = facts.init if host.init == "auto" else host.init
    return HostPlace(
        plan=host,
        stack=stack,
        folder=folder,
        home=home,
        workspace=workspace,
        init=init,
        account=f"{facts.uid}:{facts.gid}",
        guest=facts.guest,
    )


def _provider(
    hosts: Mapping[str, HostPlan], stack: str, project: Path, clusters: Mapping[str, ClusterPlan]
) -> pulumi.ProviderResource:
    """One provider for all hosts and clusters: their connections are its configuration, not the resources'."""
    ways = {name: host_settings(host, stack, project) for name, host in hosts.items()}
    text = json.dumps({**ways, **{name: cluster_settings(cluster) for name, cluster in clusters.items()}})
    guarded = any(isinstance(host.connection, Ssh) and host.connection.sudo_password for host in hosts.values())
    guarded = guarded or any(cluster.kubeconfig is not None for cluster in clusters.values())
    # it lies in the state as the provider's configuration
    provider = pulumi.ProviderResource("berth", "berth", {"hosts": pulumi.Output.secret(text) if guarded else text})
    pulumi.runtime.register_stack_transformation(lambda args: _with_provider(args, provider))
    return provider


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
