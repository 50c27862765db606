"""The Pulumi program: load the stack's file, plan it, build what the plan says, export what people need."""

import gc

gc.disable()  # what is imported stays: to look through it for garbage, now and at the end, takes a third of a preview

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pulumi

# Of each resource the SDK tells the engine four things for `--debug`, waits for each, and has no setting for it.
pulumi.log.debug = lambda *_, **__: None

from berth.planner.hosts import host_plan
from berth.planner.on_cluster import clusters
from berth.planner.unbuilt import unbuilt
from berth.spec import SpecError, load
from components.observed import observe
from components.refusal import refuse, unasked

name = pulumi.get_stack()
project = Path(__file__).resolve().parent

try:
    stack = load(project / "stacks" / f"{name}.yaml")
except SpecError as error:
    refuse([str(problem) for problem in error.problems])

hosts = {host: host_plan(host, settings) for host, settings in stack.hosts.items()}
why = "the stack cannot be applied yet" if any(unbuilt(stack)) else unasked(hosts, name, project)
with ThreadPoolExecutor(1) as meanwhile:  # the rest is imported while the hosts answer
    meanwhile.map(import_module, ("berth.planner.planning", "components.stack", "berth.report.lines", "berth.shapes"))
    observed = observe(hosts, name, project, why, clusters(stack, ()))

from berth.planner.order import in_order
from berth.planner.planning import plan as decide
from berth.report.lines import lines
from berth.shapes import read
from components.stack import build, problems

gc.freeze()
gc.enable()

shapes, unread = read(stack, base=project, secret=pulumi.Config().get)
facts = observed.planned(hosts, name, project)
plan = decide(stack, name, pulumi.Config().get("profile"), facts=facts, shapes=shapes)
plan = in_order(plan, stack, observed.held(hosts, name, project))
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
