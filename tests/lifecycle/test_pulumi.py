"""Up, down and what a kill leaves, with the real CLI on a small program of its own."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.lifecycle.project import Project

pytestmark = [pytest.mark.pulumi, pytest.mark.timeout(1800)]  # the first test may have to wait for a build of Pulumi

KEY = "sk-berth-4f1d0c9be1a3"

_PLAIN = f"""
import pulumi
pulumi.export("url", "http://127.0.0.1:PORT/v1")
pulumi.export("models", ["tiny", "other"])
pulumi.export("keys", pulumi.Output.secret({{"default": "{KEY}"}}))
"""

# A resource whose creation lasts until a file appears: what a kill then leaves is a pending operation.
_SLOW = """
import os
import time
from pathlib import Path

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

HERE = Path.cwd()


class Slow(ResourceProvider):
    def create(self, props):
        parent = os.getppid()
        if not (HERE / "go-on").exists():
            (HERE / "begun").write_text("now")  # a pipe: waits for the test to read it
        while not (HERE / "go-on").exists() and os.getppid() == parent:
            time.sleep(0.05)
        return CreateResult("slow", {})


class Thing(Resource):
    pass


Thing(Slow(), "slow", {})
pulumi.export("url", "http://127.0.0.1:1/v1")
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with the real settings but without the provider; its processes end with the test."""
    root = tmp_path / "a project, 100%25#"
    (root / "stacks").mkdir(parents=True)
    (root / "stacks" / "dev.yaml").write_text("models: {tiny: {source: {random: tiny}}}\n", encoding="utf-8")
    here = Project.here().root
    settings = (here / "Pulumi.yaml").read_text(encoding="utf-8")
    (root / "Pulumi.yaml").write_text(settings.partition("plugins:")[0], encoding="utf-8")
    shutil.copy(here / "Pulumi.dev.yaml", root)
    (root / ".venv").symlink_to(sys.prefix)
    (root / "__main__.py").write_text(_PLAIN.replace("PORT", "1"), encoding="utf-8")
    yield Project(root)
    for pid in _processes_in(root):
        os.kill(pid, signal.SIGKILL)


def _processes_in(root: Path) -> list[int]:
    found: list[int] = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == root:
                found.append(int(link.parent.name))
        except OSError:
            continue
    return found


def _start(project: Project, verb: str) -> subprocess.Popen[str]:
    code = (
        "import sys; from pathlib import Path\n"
        "from berth import lifecycle; from berth.lifecycle.project import Project\n"
        f"sys.exit(lifecycle.{verb}('dev', Project(Path({str(project.root)!r}))))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Project.here().root,
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _run(project: Project, verb: str) -> tuple[int, str]:
    with _start(project, verb) as process:
        output = process.communicate()[0]
    return process.returncode, output


def _shell(project: Project, script: str) -> subprocess.CompletedProcess[str]:
    """As a user in a fresh shell in the project's folder."""
    clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(project.root.parent)}
    return subprocess.run(
        ["bash", "-c", script], cwd=project.root, env=clean, capture_output=True, text=True, check=False
    )


def _killed_amid_a_creation(project: Project, *, everything: bool) -> None:
    (project.root / "__main__.py").write_text(_SLOW, encoding="utf-8")
    os.mkfifo(project.root / "begun")
    with _start(project, "up") as process:
        (project.root / "begun").read_text(encoding="utf-8")
        process.kill()
        if everything:
            for pid in _processes_in(project.root):
                os.kill(pid, signal.SIGKILL)


def _pending(project: Project) -> list[object]:
    done = _shell(project, "source .berth/env && pulumi stack export --stack dev")
    return list(json.loads(done.stdout)["deployment"].get("pending_operations") or [])


def _content(file: Path) -> bytes:
    """What a reader finds in a file; Pulumi compresses its logs."""
    content = file.read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


class _Gateway(http.server.BaseHTTPRequestHandler):
    seen: dict[str, object]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen = {"path": self.path, "key": self.headers["Authorization"], **json.loads(body)}
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


def test_up_ends_with_a_line_that_works_when_pasted(project: Project) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        program = _PLAIN.replace("PORT", str(server.server_port))
        (project.root / "__main__.py").write_text(program, encoding="utf-8")
        code, output = _run(project, "up")
        assert code == 0, output
        line = next(line.strip() for line in output.splitlines() if "curl" in line)
        answer = _shell(project, line.replace("curl -sS", "curl -sS -w '%{http_code}'"))
        server.shutdown()
        thread.join()
    assert (answer.stdout, answer.stderr) == ("200", "")
    assert _Gateway.seen == {
        "path": "/v1/chat/completions",
        "key": f"Bearer {KEY}",
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 16,
    }
    assert "Models:   tiny, other" in output
    assert re.search(r"tiny answers nonsense, because its weights are random", output)
    assert "other answers nonsense" not in output
    assert "source .berth/env" in output
    assert "make down" in output
    assert KEY not in output
    for file in project.folder.rglob("*"):
        assert not file.is_file() or KEY.encode() not in _content(file), file


def test_then_plain_pulumi_works_and_down_leaves_nothing(project: Project) -> None:
    tracked = (project.root / "Pulumi.dev.yaml").read_bytes()
    assert _run(project, "up")[0] == 0
    assert _shell(project, "source .berth/env && pulumi preview --expect-no-changes").returncode == 0
    code, output = _run(project, "up")
    assert code == 0, output

    code, output = _run(project, "down")
    assert code == 0, output
    assert "stack dev: is down" in output
    assert json.loads(_shell(project, "source .berth/env && pulumi stack ls --json").stdout) == []
    code, output = _run(project, "down")
    assert (code, output) == (0, "stack dev: is not there; nothing to take down\n")
    assert (project.root / "Pulumi.dev.yaml").read_bytes() == tracked
    assert sorted(path.name for path in project.root.iterdir() if path.name != "__pycache__") == [
        ".berth", ".venv", "Pulumi.dev.yaml", "Pulumi.yaml", "__main__.py", "stacks",
    ]  # fmt: skip


def test_a_program_that_fails_passes_its_status_on(project: Project) -> None:
    (project.root / "__main__.py").write_text(
        "import pulumi\nraise pulumi.RunError('models.tiny: is wrong')\n", encoding="utf-8"
    )
    code, output = _run(project, "up")
    assert code not in {0, 1} or "models.tiny: is wrong" in output
    assert code != 0
    assert "models.tiny: is wrong" in output
    assert "Traceback" not in output
    assert "curl" not in output


@pytest.mark.parametrize("victim", ["everything", "berth alone"])
def test_up_after_a_kill_converges(project: Project, victim: str) -> None:
    _killed_amid_a_creation(project, everything=victim == "everything")
    (project.root / "go-on").touch()

    code, output = _run(project, "up")
    assert code == 0, output
    if victim == "everything":
        assert "stack dev: released the lock of process" in output
        assert "stack dev: forgot that a killed run was creating slow (pulumi-python:dynamic:Resource)" in output
    assert _pending(project) == []
    done = _shell(project, "source .berth/env && pulumi preview --expect-no-changes")
    assert done.returncode == 0, done.stdout
    assert _run(project, "down")[0] == 0


def test_down_after_a_kill_leaves_no_stack(project: Project) -> None:
    _killed_amid_a_creation(project, everything=True)
    code, output = _run(project, "down")
    assert code == 0, output
    assert "stack dev: released the lock of process" in output
    assert json.loads(_shell(project, "source .berth/env && pulumi stack ls --json").stdout) == []


def test_down_after_a_kill_before_anything_was_made_leaves_no_stack(project: Project) -> None:
    assert _run(project, "up")[0] == 0
    assert _run(project, "down")[0] == 0
    made = _shell(project, "source .berth/env && pulumi stack init dev")
    assert made.returncode == 0, made.stderr
    code, output = _run(project, "down")
    assert (code, output) == (0, "stack dev: is down\n")
    assert json.loads(_shell(project, "source .berth/env && pulumi stack ls --json").stdout) == []


def test_an_ended_up_lets_pulumi_finish_what_it_began(project: Project) -> None:
    (project.root / "__main__.py").write_text(_SLOW, encoding="utf-8")
    os.mkfifo(project.root / "begun")
    with _start(project, "up") as process:
        (project.root / "begun").read_text(encoding="utf-8")
        process.terminate()
        (project.root / "go-on").touch()
        output = process.communicate()[0]
    assert process.returncode not in {0, -signal.SIGTERM}
    assert "Traceback" not in output
    assert _pending(project) == []
    code, output = _run(project, "up")
    assert code == 0, output
    assert "released the lock" not in output
