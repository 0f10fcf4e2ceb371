"""Ray clusters of several nodes on this machine, on its loopback alone. Never `ray stop`: it would end all others."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    # A node whose process is killed is missed after 3 seconds instead of 13.
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "5",
    "RAY_health_check_initial_delay_ms": "500",
}


class Nodes:
    """A head without cores, and nodes that come and go."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.address: str = cluster.address

    @contextmanager
    def another(self) -> Iterator[Nodes]:
        """A second cluster whose head is to be lost, which is given up after 2 seconds instead of 60."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")
            cluster = _started()
            try:
                another = Nodes(cluster)
                another.add()
                yield another
            finally:
                cluster.shutdown()

    def lose_head(self) -> None:
        """End the head as if its machine lost its power."""
        for process in self.cluster.head_node.all_processes.values():
            process[0].process.kill()

    def add(self, cpus: int = 2, **given: Any) -> Any:
        """Add a node; return it."""
        return self.cluster.add_node(num_cpus=cpus, object_store_memory=100 * 2**20, **given)

    def remove(self, node: Any, gracefully: bool = True) -> None:
        """Remove a node, as if its machine was shut down, or lost its power."""
        self.cluster.remove_node(node, allow_graceful=gracefully)


def _started() -> Any:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    return Cluster(initialize_head=True, head_node_args=head)


@contextmanager
def running_cluster() -> Iterator[Nodes]:
    """A cluster whose head has no cores; this process and those that it starts know its password."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SETTINGS | {"RAY_TMPDIR": str(folder)}).items():
            patch.setenv(name, value)
        from ray._private import ray_constants
        from ray._raylet import Config

        patch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
        Config.initialize("")
        cluster = _started()
        try:
            yield Nodes(cluster)
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
    assert os.environ.get("RAY_AUTH_TOKEN") != SETTINGS["RAY_AUTH_TOKEN"]
