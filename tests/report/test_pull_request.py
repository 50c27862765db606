"""One comment for all stacks: found again by its marker, never longer than GitHub takes."""

from __future__ import annotations

from dataclasses import replace

from berth.report.pull_request import MARKER, Reviewed, comment
from tests.report import plans


def test_every_stack_has_a_line_and_a_section() -> None:
    text = comment([
        Reviewed(stack="rtx5090", plan=plans.three()),
        Reviewed(stack="small", plan=plans.too_much()),
        Reviewed(stack="bad", problems=("stacks/bad.yaml: models: is missing, must be given",)),
    ])  # fmt: skip
    assert text.startswith(MARKER + "\n")
    assert "| **rtx5090** | 🟢 fits |" in text
    assert "| **small** | 🔴 does not fit |" in text
    assert "| **bad** | 🔴 wrong input | 1 problem in the stack file |" in text
    assert text.count("<details") == text.count("</details>") == 3
    assert "- stacks/bad.yaml: models: is missing, must be given" in text


def test_a_preview_is_quoted_so_that_it_cannot_end_its_block() -> None:
    text = comment([Reviewed(stack="a", plan=plans.without_gpu(), preview="one\n````\n</details>\n@team\n")])
    assert "`````text\none\n````\n</details>\n@team\n`````\n" in text


def test_what_exceeds_the_limit_is_left_out_and_named() -> None:
    many = [Reviewed(stack=f"stack{number}", plan=replace(plans.three(), stack=f"s{number}")) for number in range(100)]
    text = comment(many)
    assert len(text) <= 65_536
    assert "| **stack99** |" in text
    assert "characters; `berth plan` shows them: stack" in text
