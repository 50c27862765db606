"""SGLang as a process of this machine: the same resources, gateway and proof; a stand-in answers in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from light import stack
from project import Project
from standin import install_sglang

pytestmark = pytest.mark.pulumi


def test_up_unchanged_destroyed(project: Project, ports: Callable[[], int], tmp_path: Path) -> None:
    environment = {"path": str(install_sglang(tmp_path / "engine"))}
    engine = {"name": "sglang", "version": "0.5.9", "device": "cpu", "environment": environment}
    content = stack(ports(), tmp_path, first={"engine": engine})
    del content["models"]["first"]["kv_cache"]
    project.write("sglang", content)
    project.init("sglang")
    project.up("sglang").ok()
    assert project.outputs("sglang")["smoke"]["first"]["streamed_tokens"] > 0
    run = (project.workspace("sglang") / "services/first-main-0/run").read_text()
    assert "-m sglang.launch_server --model-path" in run
    assert "--enable-metrics" in run
    project.unchanged("sglang").ok()
    project.destroy("sglang").ok()
    assert project.processes() == {}
