"""The Pulumi program: load the stack's file, plan it, build what the plan says, export what people need."""

from dataclasses import replace
from pathlib import Path

import pulumi

from berth.planner.planning import plan as decide
from berth.report.lines import lines
from berth.shapes import read
from berth.spec import SpecError, load
from components.stack import build, problems, refuse

name = pulumi.get_stack()
project = Path(__file__).resolve().parent

try:
    stack = load(project / "stacks" / f"{name}.yaml")
except SpecError as error:
    refuse([str(problem) for problem in error.problems])

shapes, unread = read(stack, base=project, secret=pulumi.Config().get)
plan = decide(stack, name, pulumi.Config().get("profile"), shapes=shapes)
plan = replace(plan, notes=(*plan.notes, *unread))

pulumi.log.info("\n".join(lines(plan)))
if found := [*map(str, plan.refusals), *problems(plan, project)]:
    refuse(found)

if plan.unbuilt and pulumi.runtime.is_dry_run():
    pulumi.log.warn("a preview of the plan alone: `pulumi up` refuses what is marked `not yet`")
elif plan.unbuilt:
    refuse(plan.unbuilt)
else:
    for key, value in build(plan, project).items():
        pulumi.export(key, value)
