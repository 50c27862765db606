"""Pytest fixtures of a cluster; the `conftest.py` of all tests has them, so that one cluster serves them all."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import ControlPlane
from tests.cluster.engines import engines
from tests.cluster.parts import llm, parts
from tests.machines.fixtures import or_skip

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with KServe, two nodes with four GPUs each, and stand-in engines; it ends with the session.

    The second node is tainted, and has the label `berth.test/taint`.
    """
    with or_skip("cluster"), tempfile.TemporaryDirectory(prefix="berth-cluster-") as folder:
        made = Cluster(parts(), Path(folder))
        try:
            made.start()
            made.node("free", gpus=4)
            made.node("tainted", gpus=4, tainted=True, labels={"berth.test/taint": "yes"})
            with engines(made):
                yield made
        finally:
            made.stop()


@pytest.fixture(scope="session")
def llm_cluster(cluster: Cluster) -> Cluster:
    """The cluster with KServe's controller for LLMInferenceServices beside the other."""
    with or_skip("controller for LLMInferenceServices"):
        cluster.serve_llm(llm())
    return cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """An empty namespace of the cluster; what is in it goes with it."""
    name = f"test-{next(_numbers)}"
    cluster.namespace(name)
    yield name
    cluster.send("DELETE", f"/api/v1/namespaces/{name}", {"propagationPolicy": "Background"})


@pytest.fixture
def control_plane() -> Iterator[ControlPlane]:
    """An API of its own for one test, without KServe: three seconds."""
    with or_skip("control plane"), tempfile.TemporaryDirectory(prefix="berth-cluster-") as folder:
        made = ControlPlane(parts(), Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()
