"""In which order files of tests are run side by side: the longest first, so that all lanes end at about the same time.

pytest-xdist begins with the file of most tests, and ours of one test are the longest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from xdist.scheduler import LoadFileScheduling

MINUTES: Mapping[str, float] = {
    "tests/e2e/test_killed.py": 8,
    "tests/e2e/test_dev_stack.py": 5,
    "tests/e2e/test_prerequisites_faults.py": 4,
    "tests/e2e/test_light_stack.py": 4,
    "tests/e2e/test_replacement.py": 4,
    "tests/e2e/test_docker_stack.py": 3.5,
    "tests/e2e/test_prerequisites.py": 3,
    "tests/e2e/test_ssh_stack.py": 2.5,
    "tests/provider/operations/test_process_runs.py": 2.5,
    "tests/lifecycle/test_pulumi.py": 2.5,
    "one card": 2,
    "tests/e2e/test_import_stack.py": 2,
    "tests/planner/test_properties.py": 1,
    "tests/cli/test_plan_command.py": 1,
    "tests/provider/operations/test_nvidia_machine.py": 1,
    "tests/gateway/test_watcher.py": 1,
    "tests/gateway/test_hold.py": 1,
}
"""What takes a minute or more, roughly; the order is all that counts."""
OF_END_TO_END = 1.5
"""Minutes of a file of end-to-end tests that is not listed."""

TOGETHER: Mapping[str, str] = {
    f"tests/provider/operations/test_{name}.py": "one card"
    for name in ("docker_engine", "docker_configuration", "container_toolkit", "cdi_specification")
}
"""Files that share a test machine which takes long to make: one lane makes it once."""


def lane(nodeid: str) -> str:
    """What a test is scheduled with: its file, or several of them."""
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file, file)


def minutes(nodeid: str) -> float:
    """About how long what a test is scheduled with takes."""
    one = lane(nodeid)
    return MINUTES.get(one, OF_END_TO_END if one.startswith("tests/e2e/") else 0)


class LongestFirst(LoadFileScheduling):
    """Gives whole lanes to workers, in the order in which they collected them."""

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LongestFirst | None:
    """Pytest's hook: instead of xdist's own scheduler by files, and of no other."""
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pytest's hook: in a worker the longest come first, and what belongs together follows each other."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: (-minutes(item.nodeid), lane(item.nodeid)))
