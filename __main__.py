"""The Pulumi program: load the stack's file, plan it, build what the plan says, export what people need."""

import gc

gc.disable()  # what is imported stays: to look through it for garbage, now and at the end, takes a third of a preview

from dataclasses import replace
from pathlib import Path

import pulumi

from berth.planner.on_cluster import clusters
from berth.planner.planning import host_plan
from berth.planner.planning import plan as decide
from berth.planner.unbuilt import unbuilt
from berth.report.lines import lines
from berth.shapes import read
from berth.spec import SpecError, load
from components.observed import observe
from components.stack import build, problems, refuse, unasked

gc.freeze()
gc.enable()

name = pulumi.get_stack()
project = Path(__file__).resolve().parent

try:
    stack = load(project / "stacks" / f"{name}.yaml")
except SpecError as error:
    refuse([str(problem) for problem in error.problems])

shapes, unread = read(stack, base=project, secret=pulumi.Config().get)
hosts = {host: host_plan(host, settings) for host, settings in stack.hosts.items()}
why = "the stack cannot be applied yet" if any(unbuilt(stack)) else unasked(hosts, name, project)
observed = observe(hosts, name, project, why, clusters(stack, ()))
facts = observed.planned(hosts, name, project)
plan = decide(stack, name, pulumi.Config().get("profile"), facts=facts, shapes=shapes)
plan = replace(plan, notes=(*plan.notes, *unread, *observed.notes))

pulumi.log.info("\n".join(lines(plan)))
lacking = list(observed.lacking.values())
if found := [*map(str, plan.refusals), *problems(plan, project, observed.clusters)]:
    refuse([*found, *lacking])

if plan.unbuilt and pulumi.runtime.is_dry_run():
    pulumi.log.warn("a preview of the plan alone: `pulumi up` refuses what is marked `not yet`")
elif plan.unbuilt:
    refuse(plan.unbuilt)
else:
    outputs = build(plan, project, facts, observed.away, observed.clusters)
    if lacking:
        refuse(lacking)
    for key, value in outputs.items():
        pulumi.export(key, value)
