"""The folder of finished programs: whole files only, one writer at a time."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import cache
from bootstrap.cache import Cache
from bootstrap.pins import FOLDER, NAMES
from bootstrap.progress import Progress


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"BERTH_CACHE_DIR": "/big/disk", "HOME": "/home/me"}, "/big/disk"),
        ({"XDG_CACHE_HOME": "/home/me/.c", "HOME": "/home/me"}, "/home/me/.c/berth"),
        ({"HOME": "/home/me"}, "/home/me/.cache/berth"),
        ({"BERTH_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/berth"),
        ({"BERTH_CACHE_DIR": "~/here", "HOME": "/home/me"}, "/home/me/here"),
    ],
)
def test_lies_where_the_user_says(environ: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BERTH_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert cache.root() == Path(folder)


def _put(here: Cache, name: str, recipe: str = "r1") -> None:
    with here.workplace() as folder:
        (folder / name).write_text("#!/bin/sh\n")
        here.put(name, folder / name, recipe)


def test_a_file_counts_when_it_is_whole_and_made_as_asked(tmp_path: Path) -> None:
    here = Cache(tmp_path)
    assert not here.has("pulumi", "r1")
    _put(here, "pulumi")
    assert here.has("pulumi", "r1")
    assert not here.has("pulumi", "r2")
    (here.bin / "pulumi").write_text("#!/bin")
    assert not here.has("pulumi", "r1")
    (here.bin / "pulumi").unlink()
    assert not here.has("pulumi", "r1")


def test_is_complete_only_with_every_file(tmp_path: Path) -> None:
    here, recipes = Cache(tmp_path), dict.fromkeys(NAMES, "r1")
    for name in NAMES:
        assert not here.complete(recipes)
        _put(here, name)
    assert here.complete(recipes)


@pytest.mark.parametrize("manifest", ["", "[]", '{"pulumi": 5}', "not json"])
def test_a_damaged_manifest_means_absent(tmp_path: Path, manifest: str) -> None:
    here = Cache(tmp_path)
    _put(here, "pulumi")
    (tmp_path / "manifest.json").write_text(manifest)
    assert not here.has("pulumi", "r1")
    _put(here, "pulumi")
    assert here.has("pulumi", "r1")


def test_what_an_interruption_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "work-old").mkdir()
    (tmp_path / "work-old" / "pulumi").write_text("half")
    with Cache(tmp_path).workplace() as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path, progress: Progress, lines: io.StringIO) -> None:
    holder = (
        "import sys, pathlib; from bootstrap.cache import lock; from bootstrap.progress import Progress\n"
        f"with lock(pathlib.Path({str(tmp_path / 'lock')!r}), Progress()): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder], cwd=FOLDER.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.kill()
    process.communicate()
    with cache.lock(tmp_path / "lock", progress):
        assert not lines.getvalue()
