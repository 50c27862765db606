"""From a plan and the machines as they were found to checks; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from berth.doctor.running import disk_checks, service_checks
from berth.facts import HostFacts
from berth.planner.plan import Plan, Severity
from berth.planner.readiness import Check, State, Subject, readiness

_CODES = {State.OK: 0, State.WARN: 1, State.UNKNOWN: 1, State.FAIL: 2}


@dataclass(frozen=True, kw_only=True)
class HostDiagnosis:
    """One host and what was looked at there."""

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A whole stack: what its plan says whatever the machines are, then each host."""

    stack: str
    plan: tuple[Check, ...]
    hosts: tuple[HostDiagnosis, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """All of them."""
        return (*self.plan, *(check for host in self.hosts for check in host.checks))

    @property
    def code(self) -> int:
        """The exit code: 0 where all is ok, 1 with warnings or what could not be seen, 2 with failures."""
        return max((_CODES[check.state] for check in self.checks), default=0)


def diagnose(plan: Plan, facts: Mapping[str, HostFacts], problems: Mapping[str, str]) -> Diagnosis:
    """All checks of a stack.

    Args:
        plan: as it was decided with these facts.
        facts: the machines as they were found, by host.
        problems: why a host was not reached, by host.
    """
    hosts = tuple(
        HostDiagnosis(name=name, checks=tuple(_of_host(plan, name, facts.get(name), problems.get(name))))
        for name in plan.hosts
    )
    said = {str(check) for host in hosts for check in host.checks}
    return Diagnosis(stack=plan.stack, plan=tuple(_of_plan(plan, said)), hosts=hosts)


def _of_host(plan: Plan, name: str, facts: HostFacts | None, problem: str | None) -> Iterator[Check]:
    if facts is None:
        why = (problem or "was not asked").removeprefix(f"{name}: ")
        todo = f"bring it up, or correct hosts.{name}.connection"
        yield Check(state=State.FAIL, about="connection", have=f"not reached ({why})", must="reachable", todo=todo)
        return
    yield Check(state=State.OK, about="connection", have=f"reached as {facts.user}")
    there = tuple(replica for replica in plan.replicas if replica.host == name)
    subject = Subject(host=plan.hosts[name], replicas=there, facts=facts)
    yield from readiness(subject)
    yield from disk_checks(subject)
    yield from service_checks(subject, plan.gateway)


def _of_plan(plan: Plan, said: set[str]) -> Iterator[Check]:
    """What the plan refuses or warns of, that no check of a host has said in the same words."""
    states = {Severity.REFUSAL: State.FAIL, Severity.WARNING: State.WARN}
    for note in plan.notes:
        if note.severity in states and note.text not in said:
            yield Check(state=states[note.severity], about=note.where, have=note.text)
    yield Check(state=State.OK, about="plan", have=f"{len(plan.replicas)} replicas, {plan.verdict}")
