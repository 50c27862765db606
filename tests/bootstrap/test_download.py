"""The official release from a stand-in for its site: used when whole and as published, else left."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from bootstrap import download, pulumi
from bootstrap.cache import Cache
from bootstrap.errors import Unavailable
from bootstrap.pins import FOLDER, NAMES, PULUMI
from bootstrap.progress import Progress

ARCHIVE = download.archive(platform.system(), platform.machine())
SUMS = f"pulumi-{PULUMI}-checksums.txt"


def _archive(names: Iterable[str] = NAMES, extra: Iterable[tuple[str, bytes]] = ()) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in [*((f"pulumi/{name}", f"#!/bin/sh\n# {name}\n".encode()) for name in names), *extra]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _publish(site: Any, body: bytes) -> None:
    site.files[ARCHIVE] = body
    site.files[SUMS] = f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(body).hexdigest()}  {ARCHIVE}\n".encode()


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Linux", "x86_64", f"pulumi-v{PULUMI}-linux-x64.tar.gz"),
        ("Linux", "aarch64", f"pulumi-v{PULUMI}-linux-arm64.tar.gz"),
        ("Darwin", "arm64", f"pulumi-v{PULUMI}-darwin-arm64.tar.gz"),
        ("Linux", "riscv64", None),
        ("FreeBSD", "amd64", None),
    ],
)
def test_names_the_archive_of_a_machine(system: str, machine: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(Unavailable, match=f"nothing for {system} on {machine}"):
            download.archive(system, machine)
    else:
        assert download.archive(system, machine) == name


def test_puts_the_release_into_the_cache(site: Any, progress: Progress, tmp_path: Path) -> None:
    _publish(site, _archive(extra=[("pulumi/pulumi-language-go", b"more than we need")]))
    cache = Cache(tmp_path)
    download.fetch(cache, progress)
    assert cache.complete(dict.fromkeys(NAMES, download.RECIPE))
    assert {path.name for path in cache.bin.iterdir()} == {*NAMES, "pulumi-language-go"}
    assert all(os.access(path, os.X_OK) for path in cache.bin.iterdir())
    assert not list(tmp_path.glob("work-*"))


def test_a_path_in_the_archive_cannot_leave_the_folder(site: Any, progress: Progress, tmp_path: Path) -> None:
    _publish(site, _archive(extra=[("../../../escaped", b"x"), ("/absolute", b"x")]))
    download.fetch(Cache(tmp_path / "in" / "here"), progress)
    assert {path.name for path in (tmp_path / "in" / "here" / "bin").iterdir()} == {*NAMES, "escaped", "absolute"}
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def _nothing(site: Any) -> None:
    site.files.clear()


def _other_machine(site: Any) -> None:
    site.files[SUMS] = f"{'0' * 64}  pulumi-v{PULUMI}-windows-x64.zip\n".encode()


def _changed(site: Any) -> None:
    site.files[ARCHIVE] = _archive()[:-1] + b"x"


def _cut(site: Any) -> None:
    site.cut.add(ARCHIVE)


def _no_archive(site: Any) -> None:
    del site.files[ARCHIVE]


def _incomplete(site: Any) -> None:
    _publish(site, _archive(names=["pulumi"]))


def _not_an_archive(site: Any) -> None:
    _publish(site, b"<html>please log in</html>")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_nothing, "checksums.txt cannot be read"),
        (_other_machine, "does not list"),
        (_changed, "is not what the release's checksums say"),
        (_cut, "is not what the release's checksums say|stopped after"),
        (_no_archive, "stopped after 0 MB"),
        (_incomplete, "has no pulumi-language-python"),
        (_not_an_archive, "cannot be unpacked"),
    ],
)
def test_leaves_nothing_of_a_release_that_cannot_be_trusted(
    site: Any, progress: Progress, tmp_path: Path, spoil: Callable[[Any], None], why: str | None
) -> None:
    _publish(site, _archive())
    spoil(site)
    with pytest.raises(Unavailable, match=why):
        download.fetch(Cache(tmp_path), progress)
    assert not list(tmp_path.iterdir())


def test_an_unreachable_site_is_found_out_quickly(
    monkeypatch: pytest.MonkeyPatch, progress: Progress, tmp_path: Path
) -> None:
    monkeypatch.setenv("PULUMI_RELEASES", "http://127.0.0.1:9/releases/sdk")
    begin = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be read"):
        download.fetch(Cache(tmp_path), progress)
    assert time.monotonic() - begin < 5


def test_an_interrupted_download_is_taken_up_by_the_next_run(site: Any, tmp_path: Path) -> None:
    _publish(site, _archive())
    site.stall[ARCHIVE] = threading.Event()
    command = [sys.executable, "-m", "bootstrap", "pulumi", "--source", "download"]
    environment = os.environ | {"BERTH_CACHE_DIR": str(tmp_path)}
    first = subprocess.Popen(command, cwd=FOLDER.parent, env=environment, stderr=subprocess.PIPE)
    assert first.stderr is not None
    while b"downloading" not in first.stderr.readline():
        assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    site.stall.pop(ARCHIVE).set()

    done = subprocess.run(command, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=True)
    folder = tmp_path / "pulumi" / PULUMI
    assert Path(done.stdout.strip()) == folder / "bin"
    assert {path.name for path in (folder / "bin").iterdir()} == set(NAMES)
    assert not list(folder.glob("work-*"))

    asked = len(site.asked)
    begin = time.monotonic()
    subprocess.run(command, cwd=FOLDER.parent, env=environment, capture_output=True, check=True)
    assert time.monotonic() - begin < 1
    assert len(site.asked) == asked


def test_sources_are_asked_in_order(
    site: Any, progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    _publish(site, _archive())
    assert pulumi.ensure(progress) == tmp_path / "pulumi" / PULUMI / "bin"
    assert site.asked == [SUMS, ARCHIVE]
