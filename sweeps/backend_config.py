"""The section `backend` of a sweep's config: where its runs are trained. It changes no number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pipeline.config.checks import ConfigError, require, shown
from pipeline.config.overrides import key_of
from pipeline.config.rules import LABEL, Allowed, number, one_of, whole

MOST_WORKERS = 256
BACKENDS = ("local", "ray")
ADDRESS = Allowed(
    "auto, HOST:PORT as in head.team.org:6379, or ray://HOST:PORT",
    lambda text: text == "auto" or re.fullmatch(r"(ray://)?(\[[0-9a-fA-F:]+\]|[\w.-]+):[1-9]\d{0,4}", text),
)
GPUS = Allowed(
    "0, a part of one as in 0.5, or a whole number up to 1000",
    lambda gpus: 0 <= gpus <= 1 or (gpus <= 1000 and gpus == int(gpus)),
)
OF_RAY = ("CPU", "GPU", "memory", "object_store_memory")
RESOURCES = Allowed(
    f"amounts above 0 by a name other than {', '.join(OF_RAY)}, as in {{big_memory: 1}}",
    lambda amounts: all(LABEL.fits(n) and n not in OF_RAY and 0 < amount <= 1e9 for n, amount in amounts.items()),
)


@dataclass
class BackendConfig:
    """Where runs are trained. conf/backend/ray.yaml explains each key."""

    name: Annotated[str, one_of(*BACKENDS)]
    address: Annotated[str | None, ADDRESS]
    workers: Annotated[int | None, whole(1, MOST_WORKERS)]
    cpus: Annotated[float | None, number(above=0, at_most=10_000, unit="a number of cores")]
    gpus: Annotated[float, GPUS]
    resources: Annotated[dict[str, float], RESOURCES]
    start_timeout: Annotated[float, number(above=0, at_most=1e6, unit="a number of seconds")]

    def __post_init__(self) -> None:
        """Refuse what has no effect; raise ConfigError."""
        unused = {"address": self.address, "cpus": self.cpus, "gpus": self.gpus, "resources": self.resources}
        for key, value in unused.items() if self.name == "local" else ():
            require(not value, f"backend.{key}", value, "left out with backend=local; choose backend=ray")


@dataclass
class HasBackend:
    """The part of a sweep's config that `divide_backend` checks overrides against."""

    backend: BackendConfig


def is_of_backend(word: str) -> bool:
    """Return whether an override says where runs are trained."""
    return key_of(word).partition(".")[0] == "backend"


def divide_backend(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the overrides without those of `backend`, and these."""
    listed = list(words)
    return [word for word in listed if not is_of_backend(word)], [word for word in listed if is_of_backend(word)]


def refuse_backend(words: Iterable[str]) -> None:
    """Raise ConfigError where one run is asked for on a backend: it is trained here."""
    for word in words:
        if is_of_backend(word):
            raise ConfigError(
                f"{shown(word)} is not allowed: one run is trained in this process. A sweep has a backend, as in "
                "convsweep train -m seed=0,1 backend=ray"
            )


def agreed_workers(workers: int | None, backend: BackendConfig) -> int | None:
    """Return the number of workers that `workers` or `backend.workers` gives; None if neither does.

    Raises:
        ConfigError: if both do, and differ.
    """
    both = None not in (workers, backend.workers)
    require(
        not both or workers == backend.workers,
        "backend.workers",
        backend.workers,
        f"the same as workers={workers}, or one of them left out",
    )
    return backend.workers if workers is None else workers
