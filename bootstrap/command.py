"""Runs one long command and shows that it lives."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bootstrap.progress import Progress, clock


def run(
    argv: Sequence[str | Path],
    progress: Progress,
    label: str,
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    count: Callable[[str], str | None] = lambda _line: None,
) -> tuple[int, str]:
    """Run a command to its end, with a line of progress while it works.

    Args:
        argv: the command.
        progress: where the lines go.
        label: what is being done, with how long it usually takes.
        cwd: its working folder.
        env: its environment; this process's when absent.
        count: gives the word under which a line of output is counted ("packages compiled"), if any.

    Returns:
        The exit status and all that it wrote.
    """
    progress.say(label)
    begin, lines, counts = time.monotonic(), list[str](), dict[str, int]()
    with subprocess.Popen(
        [str(part) for part in argv],
        cwd=cwd,
        env=dict(env if env is not None else os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that an interruption can end its compilers with it
    ) as process:
        try:
            for line in _lines(process):
                if line:
                    lines.append(line)
                    word = count(line)
                    if word:
                        counts[word] = counts.get(word, 0) + 1
                seen = ", ".join(f"{number} {word}" for word, number in counts.items())
                progress.tick(f"  {clock(time.monotonic() - begin)}{', ' if seen else ''}{seen}")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, "\n".join(lines)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Lines as they come, and an empty one each half second, so that a silent command still shows the time."""
    assert process.stdout is not None  # noqa: S101 -- it was opened as a pipe above
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=0.5):
                yield ""
                continue
            data = os.read(process.stdout.fileno(), 65536)
            *whole, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
            if not data:
                yield rest.decode(errors="replace")
                return
