"""The Pulumi program: load the stack's file, plan it, build what the plan says, export what people need."""

from pathlib import Path

import pulumi

from berth.planner.planning import plan as decide
from berth.report.lines import lines
from berth.spec import SpecError, load
from components.stack import build, problems, refuse

name = pulumi.get_stack()
project = Path(__file__).resolve().parent

try:
    plan = decide(load(project / "stacks" / f"{name}.yaml"), name, pulumi.Config().get("profile"))
except SpecError as error:
    refuse([str(problem) for problem in error.problems])

if found := [*map(str, plan.refusals), *problems(plan, project)]:
    refuse(found)

pulumi.log.info("\n".join(lines(plan)))
for key, value in build(plan, project).items():
    pulumi.export(key, value)
