"""What the tests of the test cluster share."""

from tests.cluster.fixtures import cluster, control_plane, namespace

__all__ = ["cluster", "control_plane", "namespace"]
