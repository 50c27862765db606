# ruff: noqa: INP001 -- a script of the CI, in no package
"""Runs the suite in an order that wastes no time: what needs no real parts first, while Pulumi is being built.

Usage: .venv/bin/python .ci/suite.py test|check|soak
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
REAL = "envoy or pulumi or engine or systemd or docker or cluster"
CACHE = ROOT / ".pytest_cache" / "suite"  # its own, since whoever runs a test by hand meanwhile writes the usual one
RECORD = CACHE / "v" / "cache" / "lastfailed"
NOTHING_COLLECTED = 5  # pytest's status

CHECKS: dict[str, list[str]] = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy", "berth", "components", "bootstrap", "__main__.py"],
}
TESTS = ["pytest", "-o", f"cache_dir={CACHE}", "-m"]
LANES = ["--dist", "loadfile", "--no-loadscope-reorder", "-n"]  # tests/lanes.py says which files come first
ALONE = [*TESTS, f"not soak and not ({REAL})", "-q", *LANES, "2"]
# Of two cores one of these tests uses two thirds of one and waits for the rest of its time.
WITH_REAL_PARTS = [*TESTS, f"not soak and not cluster and ({REAL})", "-v", "--durations=40", *LANES, "3"]
ON_A_CLUSTER = [*TESTS, "not soak and cluster", "-v", "--durations=20"]
SOAK = ["pytest", "-v", "--durations=0", "-m", "soak"]
SECOND_TRY = 3
"""So many failed tests of a part are run once more, and named. They share two cores with servers that they start, and
one late answer among thousands of tests is not worth another half hour; what is broken fails again."""


def main(what: str) -> int:
    """Run everything that was asked for, also after a failure, and end with one line for each part."""
    # A background job of a shell ignores it, and so would Pulumi's plugins, which are ended by it: 5 s at each run.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results: dict[str, str] = {}
    if what == "soak":
        results["soak"] = _run("soak", SOAK)
    if what == "check":
        results |= {name: _run(name, argv) for name, argv in CHECKS.items()}
    if what == "test":
        # Whoever has the cores builds Pulumi, then runs tests; a cluster's parts are built with what is left of them.
        with _beside("nice", "-n", "15", sys.executable, "-m", "tests.cluster.parts") as cluster:
            with _beside(sys.executable, "-m", "bootstrap", "pulumi") as pulumi:
                results |= {name: _run(name, argv) for name, argv in CHECKS.items()}
                results |= _twice("tests alone", ALONE)
                results |= _waited_for("Pulumi", pulumi)
            results |= _twice("tests with real parts", WITH_REAL_PARTS)
            results |= _waited_for("a cluster's parts", cluster)
        results |= _twice("tests on a cluster", ON_A_CLUSTER)
    sys.stdout.write("\n" + "".join(f"{result:>10}  {name}\n" for name, result in results.items()))
    return 1 if any(result.startswith("FAIL") for result in results.values()) else 0


def _twice(name: str, argv: list[str]) -> dict[str, str]:
    """Run tests, and what failed of them once more when it is little enough to be a matter of luck; names it anyhow."""
    RECORD.unlink(missing_ok=True)  # it also keeps what failed before and was not run again
    first = _run(name, argv)
    failed = sorted(json.loads(RECORD.read_text())) if first.startswith("FAIL") and RECORD.is_file() else []
    if not failed or len(failed) > SECOND_TRY or not all("::" in test for test in failed):
        return {name: first} | {f"failed: {test}": "" for test in failed[:20]}
    second = _run(f"{name}, second try", ["pytest", "-v", *failed])
    verdict = first.replace("FAIL", "ok but") if second.startswith("ok") else first
    return {name: verdict} | {f"at the second try: {test}": second for test in failed}


@contextmanager
def _beside(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A build beside tests; its few lines come between theirs."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def _waited_for(name: str, process: subprocess.Popen[bytes]) -> dict[str, str]:
    begin = time.monotonic()
    return {f"{name}, waited for": _verdict(process.wait(), time.monotonic() - begin)}


def _run(name: str, argv: list[str]) -> str:
    sys.stdout.write(f"\n== {name}: {' '.join(argv)}\n")
    sys.stdout.flush()
    begin = time.monotonic()
    environment = os.environ | {"PATH": f"{BIN}:{os.environ.get('PATH', '')}"}
    if argv is SOAK:
        environment["BERTH_SOAK"] = "1"
    code = subprocess.run([BIN / argv[0], *argv[1:]], cwd=ROOT, env=environment, check=False).returncode
    return _verdict(0 if code == NOTHING_COLLECTED and argv[0] == "pytest" else code, time.monotonic() - begin)


def _verdict(code: int, seconds: float) -> str:
    return f"{'ok' if code == 0 else 'FAIL'} {seconds:.0f} s"


if __name__ == "__main__":
    if sys.argv[1:] not in (["test"], ["check"], ["soak"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
