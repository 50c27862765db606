"""Services started by hand, with the stand-in engine: what the runner does when nobody else is there."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from berth.engines.vllm import VLLM
from berth.provider.supervision.service import RUNNER, Service
from tests.engine_standin.standin import install

LIMIT_S = 20


class ByHand:
    """One service in a folder of its own; `start` is what a person or a manager would do."""

    def __init__(self, root: Path, name: str, port: int, locks: Sequence[Path] = (), **more: object) -> None:
        self.environment = install(root / "engine")
        self.log = root / f"{name}.log"
        self.port = port
        self.runners: list[subprocess.Popen[bytes]] = []
        argv = VLLM.command(str(self.environment), "m", {}, served_names=[name], host="127.0.0.1", port=port)
        self.service = Service.model_validate(
            {
                "name": name,
                "folder": str(root / name),
                "argv": argv,
                "log": str(self.log),
                "locks": [str(lock) for lock in locks],
                "ready": VLLM.ready_probe(str(self.environment), port),
                "stop_timeout_s": 5,
                **more,
            }
        )
        self.write()

    def write(self, **changed: object) -> None:
        """Puts the definition on the host."""
        self.service = self.service.model_copy(update=changed)
        folder = Path(self.service.folder)
        folder.mkdir(exist_ok=True)
        (folder / "runner.sh").write_text(RUNNER)
        Path(self.service.run_path).write_text(self.service.render())

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the runner."""
        runner = subprocess.Popen(["sh", self.service.run_path], stdin=subprocess.DEVNULL)
        self.runners.append(runner)
        return runner

    @property
    def ready(self) -> bool:
        return Path(self.service.folder, "state/ready").exists()

    @property
    def process(self) -> int:
        """The main process, 0 when none is recorded."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path(self.service.folder, "state/process").read_text().split()[0])
        return 0

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def profiled(self) -> list[tuple[float, float]]:
        """When each start profiled, from its log; one that was killed on the way profiled until now."""
        times = re.findall(r"STANDIN profiling (begin|end) ([\d.]+) (\d+)", self.text())
        ends = {pid: float(at) for what, at, pid in times if what == "end"}
        return [(float(at), ends.get(pid, time.time())) for what, at, pid in times if what == "begin"]

    def tree(self) -> set[int]:
        """Every live process that belongs to it: its runner's, the engine's, what waits for locks."""
        return {pid for pid in processes() if self.service.folder in arguments(pid) or self._engine(pid)}

    def _engine(self, pid: int) -> bool:
        return str(self.environment) in arguments(pid) and (
            f"--port {self.port} " in arguments(pid) + " "
            or self._engine(parent(pid))
            or session(pid) == self.process != 0
        )

    def end(self) -> None:
        """Leaves nothing, whatever a test did."""
        for runner in self.runners:
            runner.kill()
            runner.wait()
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def overlap(*services: ByHand) -> bool:
    """Whether any two profiled at the same time."""
    spans = sorted(span for service in services for span in service.profiled())
    return any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))


def until(condition: Callable[[], object], what: str = "") -> None:
    """Waits for what another process does."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what or "it took too long"
        time.sleep(0.02)


def processes() -> list[int]:
    """Live processes of this machine."""
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if _stat(int(folder.name))[:1] not in (["Z"], ["X"], [])
    ]


def parent(pid: int) -> int:
    """The parent of a process, 0 when it is gone."""
    return int((_stat(pid) or ["", "0"])[1])


def session(pid: int) -> int:
    """The session of a process, 0 when it is gone."""
    return int((_stat(pid) or ["", "", "", "0"])[3])


def arguments(pid: int) -> str:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
