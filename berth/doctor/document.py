"""A diagnosis as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from berth.doctor.diagnosis import Diagnosis
from berth.planner.readiness import Check


def to_json(found: Diagnosis) -> str:
    """One object: `code`, the checks of the plan, and those of each host by name."""
    document = {
        "stack": found.stack,
        "code": found.code,
        "plan": _checks(found.plan),
        "hosts": {host.name: _checks(host.checks) for host in found.hosts},
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _checks(checks: Sequence[Check]) -> list[dict[str, str]]:
    return [
        {
            "state": str(check.state),
            "about": check.about,
            "is": check.have,
            "must_be": check.must,
            "todo": check.todo,
            "declared_in": check.part or "",
        }
        for check in checks
    ]
