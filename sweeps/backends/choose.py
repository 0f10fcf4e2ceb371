"""The backend that a sweep's config asks for."""

from __future__ import annotations

from sweeps.backends.base import Backend, Say
from sweeps.backends.local import LocalBackend, local_resources
from sweeps.sweep import Sweep


def choose_backend(sweep: Sweep, say: Say) -> Backend:
    """Return what trains the sweep's runs, to be entered.

    Args:
        sweep: What is to be trained.
        say: Tells of workers that come and go.

    Raises:
        ConfigError: if there is no such backend here, or it has not what is asked for.
    """
    if sweep.config.backend.name == "local":
        return LocalBackend(local_resources(sweep), sweep.config.workers_max_memory)
    from sweeps.backends.ray.backend import RayBackend

    return RayBackend(sweep, say)
