"""The root file systems of test machines, made by debootstrap and kept as Docker images, and layers on top of them.

A root is kept as an archive in the test cache as well, since it takes longest; a layer lives in the engine alone. Each
is named after its whole recipe, so that a changed recipe makes a new one and an interrupted build is simply done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.machines.engine import Engine, Unavailable, cache_folder, install

MASKED = (
    "systemd-modules-load.service",  # would load modules into the kernel of the real machine
    "systemd-sysctl.service",  # would change settings of the real machine
    "systemd-udevd.service",  # would act on the devices of the real machine
    "systemd-logind.service",  # nobody logs in; it only slows the stop
    "console-getty.service",
    "getty.target",
)
DEFAULT_MIRROR = "http://deb.debian.org/debian"
BUILD_S = 900.0


@dataclass(frozen=True)
class Root:
    """A Debian release with packages beside its least ones; `masked` are units that it must not start."""

    suite: str
    packages: tuple[str, ...]
    masked: tuple[str, ...] = ()


DEBIAN_13 = Root(
    suite="trixie",
    packages=(
        *("systemd", "systemd-sysv", "dbus"),
        *("python3", "python3-venv", "util-linux", "procps", "curl", "ca-certificates"),
    ),
    masked=MASKED,
)
DEBIAN_12 = Root(suite="bookworm", packages=("util-linux", "procps", "curl", "ca-certificates"))
"""Without systemd: a pod's root; a machine with systemd is made of it by a layer."""


def machine_image(engine: Engine) -> str:
    """The name of the image of a Debian 13 with systemd, made or loaded first where the engine does not have it.

    Raises:
        Unavailable: it is not there and cannot be built here.
    """
    return root_image(engine, DEBIAN_13)


def root_image(engine: Engine, root: Root) -> str:
    """The name of a root's image; see `machine_image`."""
    recipe = hashlib.sha256(repr((root.suite, root.packages, root.masked)).encode()).hexdigest()[:12]
    name = f"berth-test-machine:{recipe}"
    with alone(root.suite):
        if not is_there(engine, name):
            archive = cache_folder() / f"machine-{recipe}.tar.gz"
            if not archive.exists():
                _build(root, archive)
            engine.out(
                *("import", "--change", 'CMD ["/lib/systemd/systemd"]', "--change", "ENV container=docker"),
                *(str(archive), name),
                timeout_s=300,
            )
    return name


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What a POSIX-sh script makes of another image.

    `command` is what its machines run first; `files` is a folder that the script finds as /files.
    """

    name: str
    setup: str
    command: tuple[str, ...]
    files: Path | None = None


def layer_image(engine: Engine, base: str, layer: Layer) -> str:
    """The name of a layer's image, made first where the engine does not have it; older ones of its name go.

    Raises:
        Unavailable: the script fails, for which want of a package mirror is the usual reason.
    """
    recipe = hashlib.sha256(repr((base, layer.setup, layer.command, _digest(layer.files))).encode()).hexdigest()[:12]
    name = f"berth-test-{layer.name}:{recipe}"
    with alone(layer.name):
        if not is_there(engine, name):
            _make_layer(engine, base, name, layer)
            older = engine.out("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"berth-test-{layer.name}")
            for old in set(older.splitlines()) - {name}:
                engine.run("image", "rm", old)  # refused where a machine or a further layer uses it
    return name


def is_there(engine: Engine, image: str) -> bool:
    """Whether the engine has an image of this name."""
    return engine.run("image", "inspect", image).returncode == 0


def _make_layer(engine: Engine, base: str, name: str, layer: Layer) -> None:
    building = f"berth-test-build-{layer.name}"
    engine.run("rm", "--force", building)  # of a build that was interrupted
    mounted = () if layer.files is None else ("--volume", f"{layer.files}:/files:ro")
    try:
        done = engine.run("run", "--name", building, *mounted, base, "sh", "-euc", layer.setup, timeout_s=BUILD_S)
        if done.returncode != 0:
            last = "\n".join((done.stdout + done.stderr).decode(errors="replace").splitlines()[-10:])
            raise Unavailable(f"{layer.name} of {base} ended with status {done.returncode}; its last lines:\n{last}")
        engine.out("commit", "--change", f"CMD {json.dumps(layer.command)}", building, name, timeout_s=300)
    finally:
        engine.run("rm", "--force", building)


def _digest(folder: Path | None) -> str:
    if folder is None:
        return ""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return repr([(str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in found])


@contextlib.contextmanager
def alone(what: str) -> Iterator[None]:
    """Of several test processes one builds, the others wait."""
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / what).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(root: Root, archive: Path) -> None:
    if os.geteuid() != 0:
        raise Unavailable(f"{archive} is not there, and building it (debootstrap) needs root")
    install({"debootstrap": "debootstrap", "gzip": "gzip", "tar": "tar"})
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="machine-root-") as folder:
        made = Path(folder, "root")
        _run(
            *("debootstrap", "--variant=minbase", f"--include={','.join(root.packages)}"),
            *(root.suite, str(made), _mirror()),
        )
        for unit in root.masked:
            (made / "etc/systemd/system" / unit).symlink_to("/dev/null")
        (made / "etc/machine-id").write_text("")  # each machine makes its own at its first start
        new = archive.with_suffix(".new")
        _run(
            *("tar", "--use-compress-program=gzip -1", "--exclude=./var/cache/apt/*"),
            *("-C", str(made), "-cf", str(new), "."),
        )
        new.rename(archive)


def _run(*argv: str) -> None:
    done = subprocess.run(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=BUILD_S,
        check=False,
    )
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-10:])
        raise Unavailable(f"{argv[0]} ended with status {done.returncode}; its last lines:\n{last}")


def _mirror() -> str:
    """The mirror that this machine itself uses where it is a Debian, so that closed networks work."""
    form = "$(ORIGIN) $(LABEL) $(REPO_URI)"
    argv = ("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    for line in subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines():
        origin, label, address = line.split(" ", 2)
        if (origin, label) == ("Debian", "Debian"):
            return address
    return DEFAULT_MIRROR
