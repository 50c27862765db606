"""What is printed after an update."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from berth.lifecycle.summary import curl, summary

NOTE = "Note:     tiny answers nonsense, because its weights are random; the stack file shows how to serve a real model"


def test_says_where_it_answers_what_it_serves_and_how_to_end_it() -> None:
    text = summary("dev", {"url": "http://127.0.0.1:8000/v1", "models": ["tiny"], "keys": "[secret]"}, ["tiny"])
    assert text.splitlines() == [
        "Gateway:  http://127.0.0.1:8000/v1",
        "Models:   tiny",
        NOTE,
        "",
        "Ask it (paste the line, in this folder):",
        f"  {curl('dev', 'http://127.0.0.1:8000/v1', 'tiny')}",
        "",
        "Plain Pulumi in this shell:",
        "  source .berth/env",
        "",
        "Take it down:",
        "  make down",
    ]


@pytest.mark.parametrize(
    ("outputs", "nonsense", "first"),
    [
        ({}, [], ""),
        ({"url": "http://x/v1", "models": []}, ["tiny"], "Gateway:  http://x/v1"),
        ({"models": ["a", "b"]}, ["gone"], "Models:   a, b"),
    ],
)
def test_says_only_what_the_stack_says(outputs: dict[str, object], nonsense: list[str], first: str) -> None:
    lines = summary("rtx5090", outputs, nonsense).splitlines()
    assert lines[0] == first
    assert not any("curl" in line or "nonsense" in line for line in lines)
    assert lines[-1] == "  make down STACK=rtx5090"


def test_the_line_survives_odd_names(tmp_path: Path) -> None:
    (tmp_path / ".berth").mkdir()
    (tmp_path / ".berth" / "env").write_text(
        """pulumi() { echo '{"default":"sk-1"}'; }; curl() { printf '%s|' "$@"; }\n""", encoding="utf-8"
    )
    line = curl("dev", "http://127.0.0.1:8000/v1", "it's; a $model")
    said = subprocess.run(["sh", "-euc", line], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    *_, key, _, kind, _, body, rest = said.split("|")
    assert (key, kind, rest) == ("Authorization: Bearer sk-1", "Content-Type: application/json", "")
    assert json.loads(body)["model"] == "it's; a $model"
