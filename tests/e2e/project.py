"""A copy of this project in a fresh folder, driven by the real Pulumi CLI as a user would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from berth.lifecycle.project import Project as Layout

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "for tests"


@dataclass
class Done:
    """A command that has ended."""

    status: int
    output: str

    def ok(self) -> Done:
        """Itself; fails the test with everything it said when it failed."""
        assert self.status == 0, self.output
        return self


@dataclass
class Project:
    """A copy of the project; `cli` is the folder of the Pulumi CLI."""

    root: Path
    cli: Path
    extra: dict[str, str] = field(default_factory=dict)

    @classmethod
    def copy(cls, root: Path, cli: Path) -> Project:
        """What git tracks or would track, and the environment that runs the tests."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, root / name
            if source.is_file() and not name.startswith(("tests/", "docs/", "benchmarks/")):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        for compiled in (ROOT / "berth", ROOT / "components"):  # or each copy's first run compiles them again
            for folder in compiled.rglob("__pycache__"):
                shutil.copytree(folder, root / folder.relative_to(ROOT), ignore=shutil.ignore_patterns("*.pyc.*"))
        (root / ".venv").symlink_to(ROOT / ".venv")
        made = cls(root, cli)
        made.layout.open()
        return made

    @property
    def layout(self) -> Layout:
        """Where the project keeps things."""
        return Layout(self.root)

    def environment(self, stack: str) -> dict[str, str]:
        """The environment that `source .berth/env` gives."""
        own = {"HOME": os.environ["HOME"], "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
        kept = {key: os.environ[key] for key in _TRUSTED if key in os.environ}
        passphrase = {} if stack == "dev" else {"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}
        return {**self.layout.environment(stack, self.cli, {**own, **kept, **passphrase}), **self.extra}

    def write(self, stack: str, content: Mapping[str, Any]) -> None:
        """Writes a stack file."""
        (self.root / "stacks" / f"{stack}.yaml").write_text(yaml.safe_dump(dict(content), sort_keys=False))

    def pulumi(self, stack: str, *arguments: str, timeout_s: float = 600) -> Done:
        """Runs Pulumi on a stack to its end."""
        with self.start(stack, *arguments) as process:
            output, _ = process.communicate(timeout=timeout_s)
        return Done(process.returncode, output)

    @contextmanager
    def start(self, stack: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Starts Pulumi on a stack in a process group of its own, which is killed at the end."""
        command = ["pulumi", *arguments, "--stack", stack, "--non-interactive", "--color", "never"]
        with subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(stack),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def init(self, stack: str) -> None:
        """Makes the stack in the file backend."""
        self.pulumi(stack, "stack", "select", "--create").ok()

    def up(self, stack: str, *arguments: str) -> Done:
        """`pulumi up` without a question."""
        return self.pulumi(stack, "up", "--yes", "--skip-preview", *arguments)

    def unchanged(self, stack: str) -> Done:
        """`pulumi preview` that must find nothing to do."""
        return self.pulumi(stack, "preview", "--expect-no-changes", "--diff")

    def destroy(self, stack: str) -> Done:
        """`pulumi destroy` without a question."""
        return self.pulumi(stack, "destroy", "--yes", "--skip-preview")

    def outputs(self, stack: str) -> dict[str, Any]:
        """The outputs, secrets in clear."""
        with self.start(stack, "stack", "output", "--json", "--show-secrets") as process:
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        found: dict[str, Any] = json.loads(output)
        return found

    def state(self, stack: str) -> str:
        """The state file, as it lies on the disk."""
        return (self.root / ".berth/state/.pulumi/stacks/llm-serving" / f"{stack}.json").read_text()

    def workspace(self, stack: str) -> Path:
        """What the stack made on this machine."""
        return self.root / ".berth/hosts" / stack

    def pid(self, stack: str, service: str) -> int:
        """The main process of a service, as its runner recorded it."""
        return int((self.workspace(stack) / "services" / service / "state/process").read_text().split()[0])

    def processes(self) -> dict[int, str]:
        """Everything alive that was started from this copy, by its command line."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(self.root) in line and state != "Z":
                found[int(folder.name)] = line
        return found


_TRUSTED = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "UV_CACHE_DIR",
    "TMPDIR",
)


def until(condition: Callable[[], Any], what: str, limit_s: float = 60) -> Any:
    """Waits until a condition holds and returns what it gave; fails the test after the limit."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come within {limit_s} s"
        time.sleep(0.05)
    return value
