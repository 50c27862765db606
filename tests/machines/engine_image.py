"""Images with the stand-in engine, and with Envoy, on their PATH, made on the spot from the test machine's."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.engine_standin.standin import SOURCE, START
from tests.machines.engine import Engine
from tests.machines.image import machine_image

_PLACE = "/opt/engine"
_EXPORTER = Path(__file__).with_name("stand_in") / "dcgm-exporter"
_PYTHON = b'#!/bin/sh\nexec /usr/bin/python3 "$@"\n'


def engine_image(engine: Engine, tag: str = "") -> str:
    """The image's name; the Docker engine keeps it for the next session. `tag` gives it another content and name."""
    files = {
        f"{_PLACE}/vllm.py": (SOURCE.read_bytes(), 0o644),
        f"{_PLACE}/bin/vllm": (START.encode(), 0o755),
        f"{_PLACE}/bin/python": (_PYTHON, 0o755),
        f"{_PLACE}/tag": (tag.encode(), 0o644),
    }
    path = f"{_PLACE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return _image(engine, "engine", files, f"ENV PATH={path}", 'ENTRYPOINT ["vllm"]', "WORKDIR /opt")


def envoy_image(engine: Engine, binary: str) -> str:
    """The same for the gateway: Envoy on the PATH of a Debian, as its own image has it on an Ubuntu's."""
    return _image(engine, "envoy", {"/usr/local/bin/envoy": (Path(binary).read_bytes(), 0o755)}, 'ENTRYPOINT ["envoy"]')


def prometheus_image(engine: Engine, binary: str) -> str:
    """The same for Prometheus, where its own image has it."""
    files = {"/bin/prometheus": (Path(binary).read_bytes(), 0o755)}
    return _image(engine, "prometheus", files, 'ENTRYPOINT ["/bin/prometheus"]')


def exporter_image(engine: Engine) -> str:
    """STAND-IN for dcgm-exporter: answers with numbers that are written in tests/machines/stand_in/dcgm-exporter."""
    files = {"/usr/bin/dcgm-exporter": (_EXPORTER.read_bytes(), 0o755)}
    return _image(engine, "exporter", files, 'ENTRYPOINT ["/usr/bin/dcgm-exporter"]')


def _image(engine: Engine, kind: str, files: Mapping[str, tuple[bytes, int]], *changes: str) -> str:
    base = machine_image(engine)
    digest = hashlib.sha256(repr((base, changes, sorted(files))).encode())
    for content, _ in files.values():
        digest.update(content)
    name = f"berth-test-{kind}:{digest.hexdigest()[:12]}"
    if engine.run("image", "inspect", name).returncode == 0:
        return name
    container = engine.out("create", base, "true")
    try:
        done = engine.run("cp", "-", f"{container}:/", stdin=_archive(files), timeout_s=300)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        engine.out("commit", *(word for change in changes for word in ("--change", change)), container, name)
    finally:
        engine.run("rm", container)
    return name


def _archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, (content, mode) in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()
