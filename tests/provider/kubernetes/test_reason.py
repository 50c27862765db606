"""Why a service does not come up, by a table of what clusters say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.provider.kubernetes.reason import reason
from tests.provider.kubernetes.services import seen

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "reasons.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_names_the_cause(case: dict[str, Any]) -> None:
    stuck = reason(seen(case))
    if case["says"] is None:
        assert stuck is None
        return
    assert stuck is not None
    for part in case["says"]:
        assert part in stuck.why
    assert stuck.patience_s == case.get("patience", 0)
    assert stuck.patience_s < 60  # seconds: then whoever waits is told
