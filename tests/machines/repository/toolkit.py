"""The NVIDIA container toolkit's packages: the real programs and units of its Go module, in stand-in packages.

libnvidia-container, which is C and of the legacy mode alone, is empty packages of its name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.machines.engine import Unavailable, cache_folder
from tests.machines.repository.package import Content, Package

MODULE = "github.com/NVIDIA/nvidia-container-toolkit"
RELEASE = "1.20.1"
"""The release that is built; `VERSIONS` differ in the number that its programs say, nothing else."""
VERSIONS = ("1.19.1", "1.20.1")
PROGRAMS = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-cdi-hook", "nvidia-container-runtime-hook")
BUILD_S = 900.0
_EXTERNAL = "-Wl,--export-dynamic -Wl,--unresolved-symbols=ignore-in-object-files -Wl,-z,lazy"
"""As in the module's own Makefile: NVML is looked for when it is used."""
_UNITS = {
    "nvidia-cdi-refresh.service": "/usr/lib/systemd/system",
    "nvidia-cdi-refresh.path": "/usr/lib/systemd/system",
    "10-container-engines.conf": "/usr/lib/systemd/system/nvidia-cdi-refresh.service.d",
    "nvidia-cdi-refresh.env": "/etc/nvidia-container-toolkit",
}
_CONFIGURE = """
/usr/bin/nvidia-ctk --quiet config --config-file=/etc/nvidia-container-runtime/config.toml --in-place
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl enable nvidia-cdi-refresh.path nvidia-cdi-refresh.service
  systemctl start nvidia-cdi-refresh.path || :
  systemctl start nvidia-cdi-refresh.service || :
fi
"""
_STOP = """
if [ -d /run/systemd/system ]; then systemctl disable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service || :; fi
"""


def toolkit_packages(version: str) -> list[Package]:
    """The four packages of a version, which depend on each other as NVIDIA's do.

    Raises:
        Unavailable: the programs are not there and cannot be built here.
    """
    full = f"{version}-1"
    built = _built(version)
    programs = {f"/usr/bin/{name}": Content((built / name).read_bytes(), 0o755) for name in PROGRAMS}
    hook = programs.pop("/usr/bin/nvidia-container-runtime-hook")
    units = {f"{folder}/{name}": Content((built / name).read_bytes()) for name, folder in _UNITS.items()}
    return [
        Package(
            name="nvidia-container-toolkit-base",
            version=full,
            summary="nvidia-ctk and the runtime, which are real",
            files={**programs, **units},
            configuration=("/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env",),
            after_install=_CONFIGURE,
            before_removal=_STOP,
        ),
        Package(
            name="nvidia-container-toolkit",
            version=full,
            summary="the runtime's hook, which is real",
            depends=(
                f"nvidia-container-toolkit-base (= {full})",
                f"libnvidia-container-tools (= {full})",
                "libnvidia-container-tools (<< 2.0.0)",
            ),
            files={"/usr/bin/nvidia-container-runtime-hook": hook},
        ),
        Package(
            name="libnvidia-container-tools",
            version=full,
            summary="nothing",
            depends=(f"libnvidia-container1 (>= {full})",),
        ),
        Package(name="libnvidia-container1", version=full, summary="nothing"),
    ]


def _built(version: str) -> Path:
    """The folder with the programs of a version and the module's units; built once into the test cache."""
    folder = cache_folder() / f"nvidia-container-toolkit-{version}-of-{RELEASE}"
    if not folder.exists():
        if shutil.which("go") is None:
            raise Unavailable("go is missing here, which builds nvidia-ctk")
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        _build(version, new)
        source = _source()
        for name in _UNITS:
            shutil.copy(next((source / "deployments/systemd").rglob(name)), new / name)
        new.rename(folder)
    return folder


def _build(version: str, into: Path) -> None:
    stated = f"-X {MODULE}/internal/info.version={version}"
    argv = ["go", "install", "-trimpath", "-ldflags", f"-s -w {stated} '-extldflags={_EXTERNAL}'"]
    _go([*argv, *(f"{MODULE}/cmd/{name}@v{RELEASE}" for name in PROGRAMS)], {"GOBIN": str(into), "CGO_ENABLED": "1"})


def _source() -> Path:
    found = json.loads(_go(["go", "mod", "download", "-json", f"{MODULE}@v{RELEASE}"], {}))
    return Path(found["Dir"])


def _go(argv: Iterable[str], environment: dict[str, str]) -> bytes:
    done = subprocess.run(
        [*argv], cwd="/", env=os.environ | environment, capture_output=True, timeout=BUILD_S, check=False
    )
    if done.returncode != 0:
        raise Unavailable(f"nvidia-ctk cannot be built: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout
