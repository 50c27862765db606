"""A real S3 server on loopback (versitygw, built once from its Go module), filled by curl's own signatures."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.machines.engine import cache_folder
from tests.ports import free_port

RELEASE = "v1.8.0"
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
BUILD_S = 1800
REGION = "eu-test-1"
ACCESS, SECRET = "AKIDBERTHTEST", "s3cr3t/Wit+Slash=" * 2


@dataclass(frozen=True)
class StoredBuckets:
    """The running server."""

    endpoint: str
    pid: int

    def curl(self, path: str, *arguments: str, stdin: bytes = b"") -> str:
        """A signed request by curl; gives what came."""
        sign = ["--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", f"{ACCESS}:{SECRET}"]
        proof = f"x-amz-content-sha256: {hashlib.sha256(stdin).hexdigest()}"
        argv = ["curl", "-sS", "--fail-with-body", *sign, "-H", proof, *arguments, f"{self.endpoint}/{path}"]
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout.decode()

    def put(self, path: str, content: bytes) -> None:
        """One object."""
        self.curl(urllib.parse.quote(path), "-X", "PUT", "--data-binary", "@-", stdin=content)

    def fill(self, bucket: str, folder: str, files: Mapping[str, bytes]) -> None:
        """A bucket with a folder of objects."""
        self.curl(bucket, "-X", "PUT")
        for name, content in files.items():
            self.put(f"{bucket}/{folder}/{name}", content)


@pytest.fixture(scope="module")
def buckets() -> Iterator[StoredBuckets]:
    """A server with nothing on it yet."""
    with tempfile.TemporaryDirectory(prefix="berth-s3-") as folder, serving(Path(folder)) as running:
        yield running


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[StoredBuckets]:
    """A server that keeps its objects below a folder."""
    for name in ("objects", "about"):
        (folder / name).mkdir()
    port = free_port()
    keys = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
    options = ["--port", f"127.0.0.1:{port}", "--region", REGION, "--quiet"]
    argv = [str(_built()), *options, "posix", "--sidecar", str(folder / "about"), str(folder / "objects")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(argv, env={**os.environ, **keys}, stdout=log, stderr=log)
    try:
        _until_it_answers(port, server, folder / "log")
        yield StoredBuckets(f"http://127.0.0.1:{port}", server.pid)
    finally:
        server.terminate()
        server.wait(20)


def _until_it_answers(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:  # it asks who we are
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"versitygw does not answer:\n{log.read_text()}")


def _built() -> Path:
    """The program, built once into the test cache."""
    program = cache_folder() / f"versitygw-{RELEASE}"
    if not program.exists():
        if shutil.which("go") is None:
            pytest.skip("go is missing here, which builds the S3 server")
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            argv = ["go", "install", "-trimpath", "-ldflags", "-s -w", f"{PACKAGE}@{RELEASE}"]
            environment = {**os.environ, "GOBIN": folder, "CGO_ENABLED": "0"}
            done = subprocess.run(argv, cwd="/", env=environment, capture_output=True, timeout=BUILD_S, check=False)
            assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
            Path(folder, "versitygw").rename(program)
    return program
