"""Which plugins a stack gets before Pulumi runs its program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from berth.lifecycle import plugins
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import Project
from bootstrap.pins import PLUGINS

KUBERNETES = PLUGINS["kubernetes"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/hosts.yaml").write_text("hosts: {here: {connection: local}}\n")
    (tmp_path / "stacks/cluster.yaml").write_text("clusters: {k: {namespace: models}}\n")
    (tmp_path / "stacks/broken.yaml").write_text("clusters: {k: [\n")
    return Project(tmp_path)


@pytest.mark.parametrize("stack", ["hosts", "broken", "nowhere"])
def test_a_stack_without_clusters_gets_none(stack: str, project: Project, tmp_path: Path) -> None:
    plugins.bring(project, stack, {"PATH": "", "PULUMI_HOME": str(tmp_path / "home")})
    assert not (tmp_path / "home").exists()


def test_a_stack_with_clusters_gets_the_one_for_kubernetes(
    project: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "home/plugins" / KUBERNETES.folder / KUBERNETES.program.name
    program.parent.mkdir(parents=True)
    program.touch()  # as if it had been brought before
    plugins.bring(project, "cluster", os.environ | {"PULUMI_HOME": str(tmp_path / "home")})
    assert capfd.readouterr().out == ""


def test_one_that_cannot_be_had_is_named(project: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\nprintf 'go1.20\\nlocal\\n'\n")
    old.chmod(0o755)
    own = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "PULUMI_HOME": str(tmp_path / "home"),
        "BERTH_CACHE_DIR": str(tmp_path / "cache"),
    }
    with pytest.raises(LifecycleError, match="stack cluster: has clusters, must have Pulumi's plugin for Kubernetes"):
        plugins.bring(project, "cluster", os.environ | own)
    assert "go: is 1.20, must be 1.26 or newer" in capfd.readouterr().err
