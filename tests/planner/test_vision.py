"""Images that one prompt of a vision model may have: one, where the stack file says no number."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import loads

OCR = {"source": {"hub": "rednote-hilab/dots.ocr", "revision": "0" * 40}, "context": 8192, "trust_remote_code": True}
WHERE = "models.ocr.images_per_prompt"


def decided(**said: Any) -> Plan:
    model = {**OCR, "engine": {"name": "vllm", "version": "0.11.0"}, "place": [{"host": "box"}], **said}
    box = {"connection": "local", "gpus": [{"model": "l40s"}]}
    return plan(
        loads(yaml.safe_dump({"hosts": {"box": box}, "models": {"ocr": model}, "gateway": {"host": "box"}})), "x"
    )


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ({}, '{"image":1}'),
        ({"images_per_prompt": 4}, '{"image":4}'),
        ({"images_per_prompt": 0}, '{"image":0}'),
    ],
)
def test_the_limit(said: dict[str, Any], limit: str) -> None:
    found = decided(**said)
    assert found.replicas[0].arguments["limit-mm-per-prompt"] == limit
    assert any(note.where == WHERE for note in found.notes) is not bool(said)


@pytest.mark.parametrize(("said", "asks"), [({}, "image"), ({"images_per_prompt": 0}, "text")])
def test_it_is_proved_with_an_image(said: dict[str, Any], asks: str) -> None:
    (smoke,) = decided(**said).smoke
    assert smoke.asks == asks


@pytest.mark.parametrize(
    ("engine", "version", "flag"),
    [("sglang", "0.5.9", "limit-mm-data-per-request"), ("sglang", "0.5.2", None), ("tgi", "3.3.7", None)],
)
def test_a_release_without_the_flag_is_left_as_it_is(engine: str, version: str, flag: str | None) -> None:
    found = decided(engine={"name": engine, "version": version}, trust_remote_code=False)
    assert not any("images" in str(note) and note.where.endswith("images_per_prompt") for note in found.refusals)
    assert any(name.startswith("limit-mm") for name in found.replicas[0].arguments) is (flag is not None)


def test_a_model_of_text_has_no_such_limit() -> None:
    text = {"source": {"hub": "Qwen/Qwen2.5-3B-Instruct", "revision": "0" * 40}, "trust_remote_code": False}
    found = decided(**text)
    assert "limit-mm-per-prompt" not in found.replicas[0].arguments
    assert found.smoke[0].asks == "text"
