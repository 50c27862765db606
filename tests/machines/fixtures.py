"""Pytest fixtures of test machines.

Import them in the `conftest.py` of the folder that uses them: `from tests.machines.fixtures import systemd_machine`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.machines.engine import Unavailable, docker_engine
from tests.machines.image import machine_image
from tests.machines.machine import Machine


@pytest.fixture(scope="session")
def systemd_machine() -> Iterator[Machine]:
    """A Debian 13 machine with systemd, one for each test process; it ends with the session.

    Skips where this machine can offer none. In CI that is a failure: a skip there would hide the tests for good.
    """
    try:
        with docker_engine() as engine:
            machine = Machine.start(engine, machine_image(engine))
            try:
                yield machine
            finally:
                machine.remove()
    except Unavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(f"no test machine with systemd: {reason}")
        pytest.skip(f"no test machine with systemd: {reason}")
