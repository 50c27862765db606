"""A vision model on this machine's CPU: proved with an image, and held to one in a prompt. vLLM is the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from light import stack
from project import Project

pytestmark = [pytest.mark.pulumi, pytest.mark.engine, pytest.mark.soak, pytest.mark.timeout(1800)]

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5"
    "ErkJggg=="
)


def test_it_is_proved_with_an_image_and_takes_one(project: Project, ports: Callable[[], int], tmp_path: Path) -> None:
    engine = {"name": "vllm", "version": "0.32.0", "device": "cpu"}
    seeing = {"source": {"random": "tiny-vision"}, "engine": engine, "args": {"enforce_eager": True}}
    content = stack(ports(), tmp_path, first={**seeing, "start_timeout": "10m"})
    project.write("vision", content)
    project.init("vision")
    done = project.up("vision").ok()
    assert "models.first.images_per_prompt: is not said, 1 is taken" in done.output
    outputs = project.outputs("vision")
    assert outputs["smoke"]["first"]["streamed_tokens"] > 0
    assert "completion_tokens" not in outputs["smoke"]["first"], "a picture was asked about, not a text alone"
    assert asked(outputs["url"], outputs["keys"]["default"], images=1).status_code == 200
    refused = asked(outputs["url"], outputs["keys"]["default"], images=2)
    assert refused.status_code == 400, refused.text
    project.unchanged("vision").ok()
    project.destroy("vision").ok()


def asked(url: str, key: str, images: int) -> requests.Response:
    """A chat about pictures."""
    parts = [{"type": "image_url", "image_url": {"url": DOT}}] * images
    body = {
        "model": "first",
        "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}],
        "max_tokens": 4,
    }
    return requests.post(f"{url}/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=120)
