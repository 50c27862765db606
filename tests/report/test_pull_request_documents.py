"""The comments that docs/pull-requests.md shows: a change that fits is green, one that does not is red with the reason.

`BERTH_WRITE_GOLDEN=1` writes them anew, for the difference to be read before a commit.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from berth.report.pull_request import Reviewed, comment
from berth.report.svg import to_svg
from berth.review import against, review

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "docs/pull-requests"

CHANGES = {
    "fits": ("context: 1536", "context: 2048"),
    "does-not-fit": ("share: {conservative: 0.20, balanced: 0.25,", "share: {conservative: 0.20, balanced: 0.55,"),
}
"""What the pull request changes in stacks/rtx5090.yaml."""


@pytest.fixture(params=CHANGES, scope="module")
def documented(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Reviewed]:
    """The stack of the RTX 5090 after a change, compared with what it was."""
    name: str = request.param
    stacks = tmp_path_factory.mktemp(name) / "stacks"
    stacks.mkdir()
    text = (ROOT / "stacks/rtx5090.yaml").read_text()
    old, new = CHANGES[name]
    assert text.count(old) == 1
    (stacks / "rtx5090.yaml").write_text(text.replace(old, new))
    found = against(review(stacks / "rtx5090.yaml"), ROOT / "stacks")
    return name, replace(found, picture=f"pictures/{name}.svg")


def test_the_documents_show_what_the_code_says(documented: tuple[str, Reviewed]) -> None:
    name, reviewed = documented
    assert reviewed.plan is not None
    written = {DOCUMENTS / f"{name}.md": comment([reviewed]), DOCUMENTS / f"pictures/{name}.svg": to_svg(reviewed.plan)}
    for path, text in written.items():
        if os.environ.get("BERTH_WRITE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")


def test_what_does_not_fit_is_red_with_the_reason_and_what_fits_is_green(documented: tuple[str, Reviewed]) -> None:
    name, reviewed = documented
    text = comment([reviewed])
    if name == "fits":
        assert "| **rtx5090** | 🟢 fits, changed |" in text
        assert "🔴" not in text
        assert "-   --max-model-len 1536\n+   --max-model-len 2048" in text
        assert "  qwen-main-0: " in text
    else:
        assert "| **rtx5090** | 🔴 does not fit, changed |" in text
        assert "> **because** " in text
        assert "GiB" in text.split("**because** ")[1].split("\n")[0]
        assert "> **because** " in text
        assert "**to fit** " in text
    assert f"![Memory plan of rtx5090](pictures/{name}.svg)" in text
