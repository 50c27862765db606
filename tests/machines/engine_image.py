"""An image with the stand-in engine on its PATH, made on the spot from the test machine's."""

from __future__ import annotations

import hashlib
import io
import tarfile

from tests.engine_standin.standin import SOURCE, START
from tests.machines.engine import Engine
from tests.machines.image import machine_image

_PLACE = "/opt/engine"


def engine_image(engine: Engine, tag: str = "") -> str:
    """The image's name; the Docker engine keeps it for the next session. `tag` gives it another content and name."""
    recipe = hashlib.sha256((SOURCE.read_text() + START + tag).encode()).hexdigest()[:12]
    name = f"berth-test-engine:{recipe}"
    if engine.run("image", "inspect", name).returncode == 0:
        return name
    container = engine.out("create", machine_image(engine), "true")
    try:
        done = engine.run("cp", "-", f"{container}:/", stdin=_content(tag))
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        changes = (f"ENV PATH={_PLACE}/bin:{path}", 'ENTRYPOINT ["vllm"]', "CMD []", "WORKDIR /opt")
        engine.out("commit", *(word for change in changes for word in ("--change", change)), container, name)
    finally:
        engine.run("rm", container)
    return name


def _content(tag: str) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, text, mode in (
            (f"{_PLACE}/vllm.py", SOURCE.read_text(), 0o644),
            (f"{_PLACE}/bin/vllm", START, 0o755),
            (f"{_PLACE}/tag", tag, 0o644),
        ):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(text.encode()), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo(f"{_PLACE}/bin/python".lstrip("/"))
        link.type, link.linkname = tarfile.SYMTYPE, "/usr/bin/python3"
        tar.addfile(link)
    return archive.getvalue()
