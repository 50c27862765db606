"""The stand-in answers the real client of the hub as the real hub does."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from tests.hub.fixtures import hub, model_files
from tests.hub.stand_in import StandInHub

__all__ = ["hub"]


def test_the_real_client_downloads_every_file(hub: StandInHub, tmp_path: Path) -> None:
    commit = hub.add("org/model", model_files())
    folder = snapshot_download("org/model", cache_dir=tmp_path, endpoint=hub.endpoint, token=False)
    assert Path(folder).name == commit
    assert {str(f.relative_to(folder)): f.read_bytes() for f in Path(folder).rglob("*") if f.is_file()} == model_files()


def test_the_real_client_follows_pages_and_reads_sizes(hub: StandInHub) -> None:
    hub.add("org/model", model_files())
    hub.page = 2
    tree = HfApi(endpoint=hub.endpoint, token=False).list_repo_tree("org/model", recursive=True)
    assert {entry.path: entry.size for entry in tree if hasattr(entry, "size")} == {
        path: len(content) for path, content in model_files().items()
    }


@pytest.mark.parametrize(
    ("name", "revision", "error"),
    [
        ("org/none", "main", RepositoryNotFoundError),
        ("org/model", "f" * 40, RevisionNotFoundError),
        ("org/gated", "main", GatedRepoError),
    ],
)
def test_the_real_client_reads_each_refusal(
    hub: StandInHub, tmp_path: Path, name: str, revision: str, error: type
) -> None:
    hub.add("org/model", model_files())
    hub.add("org/gated", model_files(), gated=True)
    hub.known.add("hf_stranger")
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.raises(error))
        snapshot_download(name, revision=revision, cache_dir=tmp_path, endpoint=hub.endpoint, token="hf_stranger")
