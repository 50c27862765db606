"""A registry of images beside the test machines: crane's, built from its Go module, in a container of its own.

It speaks plain HTTP. Images are pushed through a port of this machine's loopback, where Docker asks for no encryption;
machines find it at its own address, and their Docker must be told that it is one without encryption.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.machines.engine import Engine, Unavailable, cache_folder
from tests.machines.image import alone, is_there
from tests.machines.machine import owner_label, remove_abandoned

PACKAGE = "github.com/google/go-containerregistry/cmd/crane"
RELEASE = "v0.22.1"
PORT = 5000
BUILD_S = 900.0
_BLOBS = "berth-test-registry"
"""A volume that stays, with what was pushed in earlier sessions: so a push takes a second instead of ten."""


@dataclass(frozen=True)
class Registry:
    """A running registry. `address` is where machines of the same engine find it; `door` where this machine does."""

    engine: Engine
    container: str
    address: str
    door: str

    def push(self, image: str) -> str:
        """Offers an image of the engine; returns the name by digest under which machines can have it."""
        name = f"{self.door}/{image.partition(':')[0]}:pushed"
        self.engine.out("tag", image, name)
        try:
            said = self.engine.out("push", name, timeout_s=300)
        finally:
            self.engine.run("image", "rm", name)
        found = re.search(r"^pushed: digest: (sha256:[0-9a-f]{64}) ", said, re.MULTILINE)
        assert found is not None, said
        return f"{self.address}/{image.partition(':')[0]}@{found[1]}"


@contextlib.contextmanager
def registry(engine: Engine) -> Iterator[Registry]:
    """One that offers nothing yet, for as long as the context lasts.

    Raises:
        Unavailable: it is not there and cannot be built here.
    """
    remove_abandoned(engine)
    words = ("--detach", "--label", owner_label(), "--publish", f"127.0.0.1::{PORT}", "--volume", f"{_BLOBS}:/blobs")
    container = engine.out("run", *words, _image(engine))
    try:
        address = engine.out("inspect", "--format", "{{.NetworkSettings.IPAddress}}", container)
        door = engine.out("port", container, str(PORT)).splitlines()[0]
        _wait(engine, container)
        yield Registry(engine, container, f"{address}:{PORT}", door)
    finally:
        engine.run("rm", "--force", "--volumes", container)


def _wait(engine: Engine, container: str) -> None:
    """Until it says that it serves."""
    with subprocess.Popen(
        engine.argv("logs", "--follow", container), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as log:
        said = []
        for line in log.stderr or ():
            said.append(line)
            if "serving on port" in line:
                log.terminate()
                return
    raise RuntimeError(f"the registry does not start: {''.join(said)}")


def _image(engine: Engine) -> str:
    """The image of the registry: one program, made first where the engine does not have it."""
    name = f"berth-test-registry:{RELEASE}-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"
    with alone("registry"):
        if not is_there(engine, name):
            serve = f'["/crane", "registry", "serve", "--address", ":{PORT}", "--disk", "/blobs"]'
            changes = ("--change", f"ENTRYPOINT {serve}")
            done = engine.run("import", *changes, "-", name, stdin=_root(_built()))
            if done.returncode != 0:
                raise RuntimeError(done.stderr.decode())
    return name


def _root(program: Path) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in ("blobs", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
        tar.add(program, "crane")
    return archive.getvalue()


def _built() -> Path:
    """The program, built once into the test cache."""
    program = cache_folder() / f"crane-{RELEASE}"
    if not program.exists():
        if shutil.which("go") is None:
            raise Unavailable("go is missing here, which builds the registry of test images")
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            argv = ["go", "install", "-trimpath", "-ldflags", "-s -w", f"{PACKAGE}@{RELEASE}"]
            environment = {**os.environ, "GOBIN": folder, "CGO_ENABLED": "0"}
            done = subprocess.run(argv, cwd="/", env=environment, capture_output=True, timeout=BUILD_S, check=False)
            if done.returncode != 0:
                raise Unavailable(f"crane cannot be built: {done.stderr.decode(errors='replace')[-2000:]}")
            Path(folder, "crane").rename(program)
    return program
