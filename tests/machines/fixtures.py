"""Pytest fixtures of test machines.

Import them in the `conftest.py` of the folder that uses them: `from tests.machines.fixtures import systemd_machine`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.machines.engine import Engine, Unavailable, docker_engine
from tests.machines.image import machine_image
from tests.machines.machine import Machine


@contextlib.contextmanager
def or_skip(what: str) -> Iterator[None]:
    """Ends the test where this machine cannot offer what it needs.

    In CI that is a failure: a skip there would hide the tests for good.
    """
    try:
        yield
    except Unavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(f"no {what}: {reason}")
        pytest.skip(f"no {what}: {reason}")


@pytest.fixture(scope="session")
def machine_engine() -> Iterator[Engine]:
    """The Docker engine that test machines run in."""
    with or_skip("Docker engine for test machines"), docker_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def systemd_machine() -> Iterator[Machine]:
    """A Debian 13 machine with systemd, one for each test process; it ends with the session."""
    with or_skip("test machine with systemd"), docker_engine() as engine:
        machine = Machine.start(engine, machine_image(engine))
        try:
            yield machine
        finally:
            machine.remove()
