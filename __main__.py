"""The Pulumi program: load the stack's file, plan it, build what the plan says, export what people need."""

from pathlib import Path

import pulumi

from berth.planner.planning import plan as decide
from berth.report.lines import lines
from berth.spec import SpecError, load
from components.stack import build, problems

name = pulumi.get_stack()
project = Path(__file__).resolve().parent

try:
    plan = decide(load(project / "stacks" / f"{name}.yaml"), name, pulumi.Config().get("profile"))
except SpecError as error:
    raise pulumi.RunError(str(error)) from None

if found := [*map(str, plan.refusals), *problems(plan, project)]:
    raise pulumi.RunError("\n".join(found))

pulumi.log.info("\n".join(lines(plan)))
for key, value in build(plan, project).items():
    pulumi.export(key, value)
