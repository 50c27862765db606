"""Engines in containers that do not start, each in a way of its own: one `pulumi up` says why, and what to do, of all.

The logs are those of real vLLM releases; a stand-in writes them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker_box import Here, here, stack
from project import Project

from tests.gateway.conftest import envoy
from tests.machines.docker_fixtures import docker
from tests.machines.engine import Engine
from tests.machines.engine_image import engine_image, envoy_image

__all__ = ["docker", "envoy"]

pytestmark = [pytest.mark.pulumi, pytest.mark.docker]

RECORDED = Path(__file__).parents[1] / "engines" / "recorded"

MEANT = {
    "no-kernels": "without kernels for this card; use an engine version that has them",
    "no-cache-memory": "nothing of the engine's share is left for the KV cache; raise the share",
    "card-occupied": "3.22 of 4.0 GiB are free on the card.*asks for 3.6 GiB; lower the share, or free the card",
    "gated": "the model is gated.*; accept its conditions on the hub and give a token",
    "context-larger-than-cache": "98304 tokens needs 1.06 GiB.*, 0.47 GiB are left; lower `context` to 35632",
    "unknown-argument": "does not know --use-v2-block-manager; take it out of `args`",
}
"""What the update must say of each recorded log."""

REFUSED = "unknown-argument"
"""The one that the stand-in finds out by itself, as vLLM's own parser does."""


@pytest.fixture
def box(project: Project, docker: Engine, envoy: str, ports: Callable[[], int]) -> Iterator[Here]:
    failing = {
        name: {"environment": {"STANDIN_FAIL": (RECORDED / f"{name}.log").read_text()}}
        for name in MEANT
        if name != REFUSED
    }
    failing[REFUSED] = {"unchecked_args": {"use_v2_block_manager": True}}
    image, gateway = engine_image(docker, release="0.32.0"), envoy_image(docker, envoy)
    content = stack(image, gateway, ports(), *MEANT, **failing)
    with here(project, content, "failures", docker) as made:
        yield made


def test_six_failed_starts_end_the_update_with_cause_and_cure(box: Here) -> None:
    lines: list[str] = []
    seen: dict[str, tuple[float, str]] = {}
    with box.project.start(box.name, "up", "--yes", "--skip-preview") as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"(\S+)-main-0 did not start: (.*)", line):
                seen.setdefault(found[1], (time.time(), found[2]))
    output = "".join(lines)
    assert process.returncode != 0
    assert seen.keys() == MEANT.keys(), output
    for name, meaning in MEANT.items():
        assert re.search(meaning, seen[name][1]), seen[name]
    # In its last lines each says when it failed; they share a lock, so one failed after the other.
    at = dict(re.findall(r"(\S+)-main-0 did not start(?:(?!did not start).)*? failed at ([\d.]+)", output, re.DOTALL))
    assert at.keys() == MEANT.keys() - {REFUSED}, output
    took = {name: round(seen[name][0] - float(when), 1) for name, when in at.items()}
    assert max(took.values()) < 10, took
    assert box.containers() == {}
