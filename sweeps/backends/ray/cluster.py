"""What a cluster has, and what a worker needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.config.checks import ConfigError
from sweeps.backend_config import BackendConfig

NODE = "ray.io/node-id"


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, by Ray's id, with all that it offers."""

    id: str
    host: str
    offers: dict[str, float]

    def room(self, demand: dict[str, float]) -> int:
        """Return how many workers of this demand it can have."""
        return int(min(self.offers.get(name, 0) / amount for name, amount in demand.items()))

    @property
    def words(self) -> str:
        """What it offers, for a message."""
        shown = {name: amount for name, amount in self.offers.items() if ":" not in name and "memory" not in name}
        return f"{self.host}: {', '.join(f'{name} {amount:g}' for name, amount in sorted(shown.items())) or 'nothing'}"


def living_nodes() -> list[Node]:
    """Return the nodes that are there now."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()
    return [Node(node["NodeID"], node["NodeManagerHostname"], node["Resources"]) for node in nodes if node["Alive"]]


def demand_of(config: BackendConfig, threads: int) -> dict[str, float]:
    """Return what a worker reserves, by Ray's names."""
    demand = {"CPU": config.cpus or float(threads)} | config.resources
    return demand | ({"GPU": config.gpus} if config.gpus else {})


def require_room(demand: dict[str, float], nodes: list[Node]) -> None:
    """Raise ConfigError if no node could ever have a worker of this demand."""
    if any(node.room(demand) for node in nodes):
        return
    wanted = ", ".join(f"{name} {amount:g}" for name, amount in demand.items())
    raise ConfigError(
        f"no node of the cluster has what a worker needs, {wanted}. There are: "
        f"{'; '.join(node.words for node in nodes) or 'none'}. Ask for less with backend.cpus, backend.gpus or "
        "backend.resources, or start a node that has it"
    )


def options_of(demand: dict[str, float], refused: set[str]) -> dict[str, Any]:
    """Return the options of an actor with this demand, on any node but the refused ones."""
    own = {name: amount for name, amount in demand.items() if name not in ("CPU", "GPU")}
    options: dict[str, Any] = {"num_cpus": demand["CPU"], "num_gpus": demand.get("GPU", 0), "resources": own}
    if refused:
        options["label_selector"] = {NODE: f"!in({','.join(sorted(refused))})"}
    return options
