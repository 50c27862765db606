"""The workflows: pinned, with few rights, and only calling what the project itself can run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.report.pull_request import MARKER

PROJECT = Path(__file__).parents[2]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def command(name: str) -> list[str]:
    """The command of a step of the preview, to be run here word for word."""
    (run,) = [step["run"] for step in steps(PROJECT / ".github/workflows/preview.yml") if step.get("name") == name]
    return shlex.split(run)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_pinned_and_have_few_rights(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    for step in steps(path):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step.get("uses", "actions/none@" + "0" * 40))
        assert "${{" not in step.get("run", "")  # what others write must not become part of a command


def test_the_suite_is_what_the_project_calls_its_suite() -> None:
    assert [step["run"] for step in steps(PROJECT / ".github/workflows/ci.yml") if "run" in step] == [".ci/run"]
    assert os.access(PROJECT / ".ci" / "run", os.X_OK)


@pytest.mark.pulumi
def test_the_preview_of_every_stack_becomes_a_comment(tmp_path: Path) -> None:
    program, *arguments, output = command("plan every stack")
    assert (program, output) == (".venv/bin/python", "comment.md")
    file, before = tmp_path / output, tmp_path / "before"
    shutil.copytree(PROJECT / "stacks", before)
    changed = before / "rtx5090.yaml"
    changed.write_text(changed.read_text().replace("context: 1536", "context: 1024"))
    moved = {"before/stacks": str(before), "pictures": str(tmp_path / "pictures")}
    done = subprocess.run(
        [sys.executable, *(moved.get(word, word) for word in arguments), str(file)],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    text = file.read_text(encoding="utf-8")
    assert "+   --max-model-len 1536" in text
    assert "| **rtx5090** | 🟢 fits, changed |" in text
    assert "| **sglang** | 🟢 fits, unchanged |" in text
    assert "![Memory plan of rtx5090](pictures/rtx5090.svg)" in text
    assert (tmp_path / "pictures/rtx5090.svg").read_text().startswith("<svg")
    # Where the default stack is up, its ports are taken, and a preview of a second one says so.
    expected = ("dev: pulumi preview failed; the comment quotes it\n", 1) if " is used by " in text else ("", 0)
    assert (done.stderr, done.returncode) == expected, text
    assert text.startswith(MARKER)
    for stack in (PROJECT / "stacks").glob("*.yaml"):
        assert f"| **{stack.stem}** |" in text
    assert "<b>dev</b>: <b>pulumi preview</b>" in text


@dataclass
class GitHub:
    """A stand-in for GitHub: keeps comments, two on a page, what was made in the repository, and the requests."""

    comments: list[dict[str, Any]] = field(default_factory=list)
    made: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refuses: bool = False
    url: str = ""

    def repository(self, path: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Makes trees, commits and references; what is moved must be there."""
        moves = "/git/refs/" in path
        known = any(path.endswith(str(one.get("ref", "?")).removeprefix("refs")) for one in self.made)
        self.made.append(said)
        return (422 if moves and not known else 201), {"sha": f"{len(self.made):040}"}


@pytest.fixture
def github() -> Iterator[GitHub]:
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append("GET")
            page = int(found[1]) if (found := re.search(r"[?&]page=(\d+)", self.path)) else 1
            rest = state.comments[2 * page :]
            link = f'<{state.url}/repos/a/b/issues/7/comments?page={page + 1}>; rel="next"' if rest else ""
            self.answer(200, state.comments[2 * page - 2 : 2 * page], link)

        def do_POST(self) -> None:
            state.asked.append(f"POST {self.path}")
            if state.refuses:
                self.body()
                self.answer(403, {"message": "Resource not accessible by integration"})
                return
            if "/git/" in self.path:
                self.answer(*state.repository(self.path, self.body()))
                return
            made = {"id": len(state.comments), "user": {"type": "Bot"}, "html_url": "u", **self.body()}
            state.comments.append(made)
            self.answer(201, made)

        def do_PATCH(self) -> None:
            state.asked.append(f"PATCH {self.path}")
            if "/git/" in self.path:
                self.answer(*state.repository(self.path, self.body()))
                return
            state.comments[int(self.path.rsplit("/", 1)[1])] |= self.body()
            self.answer(200, {"html_url": "u"})

        def body(self) -> dict[str, Any]:
            assert self.headers["Authorization"] == "Bearer token"
            return dict(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, status: int, value: object, link: str = "") -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Link", link)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def post(github: GitHub, folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "comment.md").write_text(f"{MARKER}\n{text}\n")
    environ = {
        **os.environ,
        "GITHUB_API_URL": github.url,
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_TOKEN": "token",
        "PULL_REQUEST": "7",
        "NO_PROXY": "127.0.0.1",
    }
    script, *files = command("comment")[1:]
    return subprocess.run(
        [sys.executable, PROJECT / script, *files], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def test_the_comment_is_written_once_and_then_over(github: GitHub, tmp_path: Path) -> None:
    quoted = {"id": 0, "user": {"type": "User"}, "body": f"{MARKER}\nlook at this"}
    others = [{"id": number, "user": {"type": "Bot"}, "body": "coverage"} for number in (1, 2)]
    github.comments += [quoted, *others]
    assert post(github, tmp_path, "first").returncode == 0
    assert post(github, tmp_path, "second").returncode == 0
    assert [comment["body"] for comment in github.comments[3:]] == [f"{MARKER}\nsecond\n"]
    assert github.comments[:3] == [quoted, *others]
    assert github.asked == [
        "GET", "GET", "POST /repos/a/b/issues/7/comments",
        "GET", "GET", "PATCH /repos/a/b/issues/comments/3",
    ]  # fmt: skip


def test_pictures_become_a_commit_that_the_comment_shows(github: GitHub, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/box.svg").write_text("<svg/>")
    for commit in (2, 6):  # the second time the reference is there, and is moved
        done = post(github, tmp_path, "![Memory plan of box](pictures/box.svg)")
        assert done.returncode == 0, done.stderr
        place = f"https://github.example/a/b/raw/{commit:040}"
        assert github.comments[0]["body"].endswith(f"![Memory plan of box]({place}/box.svg)\n")
    assert github.made[0] == {"tree": [{"path": "box.svg", "mode": "100644", "type": "blob", "content": "<svg/>"}]}
    assert github.made[1]["parents"] == []
    assert github.made[3] == {"ref": "refs/berth/pictures/7", "sha": f"{2:040}"}
    assert len(github.comments) == 1


def test_what_changes_hosts_asks_first_and_never_two_at_a_time() -> None:
    apply, drift = (
        yaml.safe_load((PROJECT / f".github/workflows/{name}.yml").read_text()) for name in ("apply", "drift")
    )
    assert apply["jobs"]["dev"]["environment"] == "dev"
    assert apply["concurrency"] == drift["concurrency"] == {"group": "stack-dev", "cancel-in-progress": False}
    assert apply[True]["push"]["branches"] == ["main"]  # YAML takes the key `on` for true
    assert drift[True]["schedule"]
    assert not any("up dev" in step.get("run", "") and "if" not in step for step in drift["jobs"]["dev"]["steps"])


def test_a_refused_comment_is_one_line(github: GitHub, tmp_path: Path) -> None:
    github.refuses = True
    done = post(github, tmp_path, "first")
    assert done.returncode == 1
    assert done.stderr.startswith("comment: GitHub does not take it: 403 ")
    assert len(done.stderr.splitlines()) == 1
