"""The root file system of a test machine: Debian 13 with systemd, made by debootstrap and kept as a Docker image."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from tests.machines.engine import Engine, Unavailable, cache_folder, install

SUITE = "trixie"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus"),
    *("python3", "python3-venv", "util-linux", "procps", "curl", "ca-certificates"),
)
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


def machine_image(engine: Engine) -> str:
    """The name of the image, made or loaded first where the engine does not have it.

    Raises:
        Unavailable: it is not there and cannot be built here.
    """
    recipe = hashlib.sha256(repr((SUITE, PACKAGES, MASKED)).encode()).hexdigest()[:12]
    name = f"berth-test-machine:{recipe}"
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "machine-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes one builds, the others wait
        if engine.run("image", "inspect", name).returncode != 0:
            archive = cache_folder() / f"machine-{recipe}.tar.gz"
            if not archive.exists():
                _build(archive)
            engine.out(
                *("import", "--change", 'CMD ["/lib/systemd/systemd"]', "--change", "ENV container=docker"),
                *(str(archive), name),
                timeout_s=300,
            )
    return name


def _build(archive: Path) -> None:
    if os.geteuid() != 0:
        raise Unavailable(f"{archive} is not there, and building it (debootstrap) needs root")
    install({"debootstrap": "debootstrap", "gzip": "gzip", "tar": "tar"})
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="machine-root-") as folder:
        root = Path(folder, "root")
        _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), _mirror())
        for unit in MASKED:
            (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        (root / "etc/machine-id").write_text("")  # each machine makes its own at its first start
        new = archive.with_suffix(".new")
        _run(
            "tar",
            "--use-compress-program=gzip -1",
            "--exclude=./var/cache/apt/*",
            "-C",
            str(root),
            "-cf",
            str(new),
            ".",
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
