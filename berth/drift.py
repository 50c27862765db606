"""Whether the hosts of a stack are as it declares them, asked of Pulumi: what somebody changed by hand, in a report."""

from __future__ import annotations

import re
from dataclasses import dataclass

from berth.lifecycle import ready
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import Project
from berth.preview import run
from berth.report.pull_request import quoted

_CHANGES = re.compile(r"no changes were expected( \S+)* but changes were proposed")
"""What Pulumi says of a preview that had to be empty and is not."""


@dataclass(frozen=True)
class Drift:
    """What a look at the hosts of a stack has found; `said` is Pulumi's own preview."""

    stack: str
    drifted: bool
    said: str

    @property
    def markdown(self) -> str:
        """The report."""
        word = "🔴 **is not as declared**; `pulumi up` would do this" if self.drifted else "🟢 is as declared"
        return "\n".join([f"### {self.stack} {word}", "", *quoted(self.said), ""])


def drift(stack: str, project: Project | None = None) -> Drift:
    """Looks at every host of a stack that is up; nothing is changed.

    Raises:
        LifecycleError: the stack is not up, or the preview failed for another reason than a difference.
    """
    pulumi = ready(project or Project.here(), stack)
    if not pulumi.exists():
        raise LifecycleError(f"stack {stack}: is not up, must be; bring it up, or name another")
    good, said = run(pulumi, "--diff", "--expect-no-changes")
    if not good and _CHANGES.search(said) is None:
        raise LifecycleError(f"stack {stack}: its hosts could not be looked at\n{said.strip()}")
    return Drift(stack, drifted=not good, said=said)
