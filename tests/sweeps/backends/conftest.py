"""One Ray cluster for all tests of backends: its head has no cores; nodes come and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.ray_cluster import Nodes, running_cluster


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    with running_cluster() as nodes:
        yield nodes


@pytest.fixture
def node(nodes: Nodes) -> Iterator[object]:
    """A node with two cores."""
    node = nodes.add(cpus=2)
    yield node
    if node in nodes.cluster.worker_nodes:
        nodes.remove(node)
