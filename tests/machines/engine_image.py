"""Images with the stand-in engine, and with Envoy, on their PATH, made on the spot from the test machine's."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from berth.catalogue.engine_versions import flags
from tests.engine_standin.standin import SOURCE, START
from tests.machines.engine import Engine
from tests.machines.image import machine_image

_PLACE = "/opt/engine"
_EXPORTER = Path(__file__).with_name("stand_in") / "dcgm-exporter"
_PYTHON = b'#!/bin/sh\nexec /usr/bin/python3 "$@"\n'
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAUNCH_SERVER = f"""import runpy, sys
sys.path.insert(0, "{_PLACE}")
runpy.run_path("{_PLACE}/sglang_server.py", run_name="__main__")
"""
_LAUNCHER = f'#!/bin/sh\nexec /usr/bin/python3 {_PLACE}/tgi_server.py "$@"\n'
_ENTRYPOINT = '#!/bin/sh\ncd /usr/src\n. ./.venv/bin/activate\nexec text-generation-launcher "$@"\n'
"""TGI's own, by what it does: the launcher is found on any PATH, its server only after this."""


def engine_image(engine: Engine, tag: str = "", *, name: str = "vllm", release: str = "", user: str = "") -> str:
    """The image's name; the Docker engine keeps it for the next session. `tag` gives it another content and name.

    It starts as the image of the engine `name` does. With `release` it takes the flags of that release alone. `user`
    is who runs in it, left out root.
    """
    files = {
        f"{_PLACE}/vllm.py": (SOURCE.read_bytes(), 0o644),
        f"{_PLACE}/bin/vllm": (START.encode(), 0o755),
        f"{_PLACE}/bin/python": (_PYTHON, 0o755),
        f"{_PLACE}/tag": (tag.encode(), 0o644),
    }
    changes = [f"ENV PATH={_PLACE}/bin:{_PATH}", 'ENTRYPOINT ["vllm"]', "WORKDIR /opt"]
    if name == "sglang":
        package = "/usr/local/lib/python3.13/dist-packages/sglang"
        files[f"{_PLACE}/sglang_server.py"] = (SOURCE.with_name("sglang_server.py").read_bytes(), 0o644)
        files |= {
            f"{package}/__init__.py": (b"", 0o644),
            f"{package}/launch_server.py": (_LAUNCH_SERVER.encode(), 0o644),
        }
        changes = ["WORKDIR /sgl-workspace"]
    if name == "tgi":
        files[f"{_PLACE}/tgi_server.py"] = (SOURCE.with_name("tgi_server.py").read_bytes(), 0o644)
        files["/usr/local/bin/text-generation-launcher"] = (_LAUNCHER.encode(), 0o755)
        files["/tgi-entrypoint.sh"] = (_ENTRYPOINT.encode(), 0o755)
        files["/usr/src/.venv/bin/activate"] = (b"PATH=/usr/src/.venv/bin:$PATH\n", 0o644)
        changes = ['ENTRYPOINT ["/tgi-entrypoint.sh"]', "WORKDIR /usr/src"]
    if release:
        files[f"{_PLACE}/flags.json"] = (_flags(name, release), 0o644)
    return _image(engine, "engine", files, *changes, *([f"USER {user}"] if user else []))


def _flags(name: str, release: str) -> bytes:
    """The flags of a release as the stand-in reads them."""
    known = flags(name, release)
    if not known.exact:
        raise ValueError(f"the flags of {name} {release} have not been read")
    held = {flag.name: flag for flag in known.by_name.values()}
    table = [dataclasses.asdict(flag) | {"names": flag.names} for _, flag in sorted(held.items())]
    return json.dumps(table).encode()


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
