"""The Pulumi CLI of a project, run as a user would."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from berth.lifecycle import plugins
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import Project

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Pulumi:
    """Commands on one stack; `environ` is complete."""

    project: Project
    stack: str
    environ: Mapping[str, str]

    @classmethod
    def prepare(cls, project: Project, stack: str) -> Pulumi:
        """Get the CLI and the stack's plugins, make the project's folders and its script for shells.

        Raises:
            LifecycleError: one of them cannot be had; the reason is on stderr.
        """
        project.open()
        folder = locate(project)
        _replace(project.script, project.source(stack, folder, os.environ))
        environ = project.environment(stack, folder, os.environ)
        plugins.bring(project, stack, environ)
        return cls(project, stack, environ)

    def call(self, *arguments: str, text: str | None = None) -> str:
        """The output of a short command on the stack.

        Raises:
            LifecycleError: it failed; carries what it wrote.
        """
        done = self._run([*arguments, "--stack", self.stack], text)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise LifecycleError(f"pulumi {' '.join(arguments[:2])}: failed\n{said}")
        return done.stdout

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        done = self._run(["stack", "ls", "--json"], None)
        if done.returncode:
            raise LifecycleError(f"pulumi stack ls: failed\n{done.stderr.strip()}")
        names = [str(item["name"]) for item in json.loads(done.stdout)]
        return any(name.rpartition("/")[2] == self.stack for name in names)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; a secret one is the text `[secret]`."""
        result = json.loads(self.call("stack", "output", "--json"))
        return result if isinstance(result, dict) else {}

    def stream(self, *arguments: str) -> int:
        """Run a long command on the stack, its output going where ours goes.

        An interruption is the child's to handle: the first lets running steps finish, the second ends them. When this
        process is killed, the child is interrupted by the system, so that it does not work on unseen.

        Returns:
            Its exit status; 128 and the signal's number when a signal ended it.
        """
        with (
            subprocess.Popen(
                ["pulumi", *arguments, "--stack", self.stack],
                cwd=self.project.root,
                env=self.environ,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 -- one thread only
            ) as process,
            _interruptions_go_to(process),
        ):
            code = process.wait()
        return code if code >= 0 else 128 - code

    def _run(self, arguments: list[str], text: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=self.project.root,
            env=self.environ,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            check=False,
        )


def locate(project: Project) -> Path:
    """The folder of the Pulumi CLI; brings it when it is not there yet, with progress on stderr.

    Raises:
        LifecycleError: it cannot be had.
    """
    command = [sys.executable, "-m", "bootstrap", "pulumi"]
    home = Project.here().root
    done = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise LifecycleError(f"{project.root.name}: has no Pulumi CLI, must have one; see the lines above")
    return Path(done.stdout.strip())


def _replace(path: Path, text: str) -> None:
    """Two stacks of one clone may write at the same time: whole files only."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


@contextmanager
def _interruptions_go_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    def ignore(_number: int, _frame: FrameType | None) -> None:
        """The terminal sent it to the child too."""

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, ignore),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
