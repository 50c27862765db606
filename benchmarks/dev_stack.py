"""Times the dev stack: a warm preview without changes, and `pulumi up` to the first token beside the engine alone.

Usage, after `make up` and `source .berth/env`:  python benchmarks/dev_stack.py [ROUNDS]

The engine's own start is the very command of its `run` script, started by hand on another port until its first token.
`pulumi up` starts from a stopped engine, so that both have the same to do; its time runs until the first token through
the gateway.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests

from berth.provider.supervision.service import Service

ROOT = Path(__file__).resolve().parents[1]
WORKSPACE = ROOT / ".berth/hosts/dev"
MODEL = "tiny"
SERVICE = "tiny-main-0"
OTHER_PORT = "29999"
NOTHING_CHANGED = ["preview", "--expect-no-changes"]


def main(rounds: int) -> None:
    """Prints each figure's median, and the ratio."""
    outputs = json.loads(_pulumi("stack", "output", "--json", "--show-secrets"))
    key = next(iter(outputs["keys"].values()))
    _pulumi(*NOTHING_CHANGED)
    preview = [_timed(lambda: _pulumi(*NOTHING_CHANGED)) for _ in range(rounds)]
    alone, through = [], []
    for _ in range(rounds):  # in turn, so that a slow spell of the machine meets both
        _stop()
        alone.append(_alone())
        through.append(_timed(lambda: (_pulumi("up", "--yes", "--skip-preview"), _first_token(outputs["url"], key))))
    print(f"{rounds} rounds; median seconds (all)")
    for name, times in {
        "preview without changes": preview,
        "engine's own start to first token": alone,
        "pulumi up to first token": through,
    }.items():
        print(f"  {name:36} {statistics.median(times):6.2f}  ({', '.join(f'{value:.2f}' for value in times)})")
    ratios = [up / own for up, own in zip(through, alone, strict=True)]
    print(f"  ratio of the last two                {statistics.median(ratios):6.2f}  (aim: at most 1.1)")


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _pulumi(*arguments: str) -> str:
    command = ["pulumi", *arguments, "--stack", "dev", "--non-interactive"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _stop() -> None:
    control = next(WORKSPACE.glob("environments/supervisor-*/bin/supervisorctl"), None)
    if control is None:
        sys.exit("this benchmark stops the engine through supervisord; here systemd keeps it, stop its unit by hand")
    subprocess.run([control, "-c", WORKSPACE / "supervisor/supervisord.conf", "stop", SERVICE], check=True)


def _alone() -> float:
    service = Service.parse((WORKSPACE / "services" / SERVICE / "run").read_text())
    assert service is not None
    argv = [
        OTHER_PORT if before == "--port" else word
        for before, word in zip(("", *service.argv), service.argv, strict=False)
    ]
    environment = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], **service.environment}
    begin = time.perf_counter()
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        _first_token(f"http://127.0.0.1:{OTHER_PORT}/v1", "")
        took = time.perf_counter() - begin
        process.terminate()
        process.wait(60)
        if shutil.which("pkill"):
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
        else:
            os.killpg(process.pid, signal.SIGKILL)
    return took


def _first_token(url: str, key: str) -> None:
    body = {"model": MODEL, "prompt": "Hello", "max_tokens": 1}
    while True:
        try:
            if requests.post(
                f"{url}/completions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=60
            ).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)  # nobody listens yet, which no event announces


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5)
