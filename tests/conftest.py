"""For all tests: how fast this machine is at the moment is no property of the code, and there is one cluster."""

from hypothesis import HealthCheck, settings

from tests.cluster.fixtures import cluster, control_plane, llm_cluster, namespace
from tests.lanes import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = [
    "cluster", "control_plane", "llm_cluster", "namespace",
    "pytest_collection_modifyitems", "pytest_xdist_make_scheduler",
]  # fmt: skip

settings.register_profile("berth", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("berth")
