"""A model from a bucket, end to end: a real S3 server, whose keys reach the download and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from light import stack
from project import Project
from standin import install

from tests.hub.bucket import ACCESS, REGION, SECRET, StoredBuckets, buckets
from tests.hub.fixtures import model_files

__all__ = ["buckets"]

pytestmark = pytest.mark.pulumi


def test_a_model_is_downloaded_once_and_its_keys_stay_secret(
    project: Project,
    buckets: StoredBuckets,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    ports: Callable[[], int],
) -> None:
    buckets.fill("weights", "acme/m", model_files())
    project.extra["HOME"] = str(tmp_path / "home")
    (tmp_path / "home").mkdir()
    environment = install(tmp_path_factory.mktemp("engine"))
    content = stack(ports(), environment, first={"source": {"s3": "acme/m", "connection": "store"}})
    opened = {"bucket": "weights", "endpoint": buckets.endpoint, "region": REGION}
    content["hosts"]["here"]["connections"] = {"store": {**opened, "access_key": "s3_id", "secret_key": "s3_key"}}
    project.write("light", content)
    project.init("light")
    project.pulumi("light", "config", "set", "--secret", "s3_id", ACCESS).ok()
    project.pulumi("light", "config", "set", "--secret", "s3_key", "wrong").ok()
    failed = project.up("light")
    assert "does not take this access key (SignatureDoesNotMatch); check both of its secrets" in failed.output
    project.pulumi("light", "config", "set", "--secret", "s3_key", SECRET).ok()
    shown = project.up("light").ok().output
    for text in (project.state("light"), shown, project.unchanged("light").ok().output):
        assert SECRET not in text
        assert ACCESS not in text
    for path in (*project.workspace("light").rglob("*"), *Path(project.extra["HOME"]).rglob("*")):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
    folder = next(Path(project.extra["HOME"]).rglob("weights/acme/m"))
    assert str(folder) in (project.workspace("light") / "services/first-main-0/run").read_text()
    (folder / "config.json").unlink()
    assert "config.json" in project.pulumi("light", "preview", "--diff").ok().output
    project.up("light").ok()
    assert (folder / "config.json").exists()
    project.destroy("light").ok()
    assert (folder / "config.json").exists(), "a download is kept"
