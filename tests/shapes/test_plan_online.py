"""`berth plan --online` as a user runs it; without the option nobody is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.stand_in import StandInHub
from tests.shapes import checkpoints

PROJECT = Path(__file__).parents[2]

STACK = """\
hosts: {{here: {{connection: local, gpus: [{{model: l4}}]}}}}
models:
  tiny:
    source: {{hub: org/tiny, revision: {commit}, token: hf{more}}}
    engine: {{name: vllm, version: 0.11.0}}
    place: [{{host: here, gpus: [0]}}]
    context: 256
"""


def berth(*arguments: str, hub: StandInHub, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "200", "NO_COLOR": "1"}
    environ |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_good"}
    command = [sys.executable, "-W", "error", "-m", "berth.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def commit(hub: StandInHub) -> str:
    hub.granted.add("hf_good")
    return hub.add("org/tiny", checkpoints.whole(), gated=True)


def test_a_plan_asks_the_hub_only_when_told_to(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK.format(commit=commit, more=""))
    offline = berth("plan", "./stack.yaml", hub=hub, folder=tmp_path)
    assert hub.asked == []
    assert "org/tiny is not in the catalogue" in offline.stdout
    online = berth("plan", "./stack.yaml", "--online", "--format", "json", hub=hub, folder=tmp_path)
    assert (online.returncode, online.stderr) == (0, "")
    assert "safetensors headers" in online.stdout
    assert "not in the catalogue" not in online.stdout


def test_a_token_goes_to_no_address_of_the_stack_file(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK.format(commit=commit, more=f', endpoint: "{hub.endpoint}"'))
    done = berth("plan", "./stack.yaml", "--online", hub=hub, folder=tmp_path)
    assert done.returncode == 0
    assert "is gated and it needs a token" in done.stdout
    assert hub.asked
    assert not any(name.lower() == "authorization" for _, _, headers in hub.asked for name in headers)
