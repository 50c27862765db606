"""Pytest fixtures of a Docker engine on this machine.

Import them in the `conftest.py` of the folder that uses them: `from tests.machines.docker_fixtures import docker`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.machines.engine import Engine, Unavailable, docker_engine


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """A Docker engine, to which DOCKER_HOST points for as long as the session lasts.

    Skips where this machine can offer none. In CI that is a failure: a skip there would hide the tests for good.
    """
    before = os.environ.get("DOCKER_HOST")
    try:
        with docker_engine() as engine:
            os.environ["DOCKER_HOST"] = engine.host
            try:
                yield engine
            finally:
                if before is None:
                    del os.environ["DOCKER_HOST"]
                else:
                    os.environ["DOCKER_HOST"] = before
    except Unavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(f"no Docker engine: {reason}")
        pytest.skip(f"no Docker engine: {reason}")
