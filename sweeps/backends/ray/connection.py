"""A connection to a Ray cluster, or to one that is started here and ends with it; what it sets is put back."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipeline.config.checks import ConfigError
from pipeline.system.hardware import cores
from pipeline.system.messages import installing, reason, root_cause, with_causes
from sweeps.backends.ray.fitness import last_line

REACH_SECONDS = 10
# What a cluster started here is like: on this machine's loopback alone, with a password of its own, telling nobody.
OF_OUR_OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # which binds to 127.0.0.1 instead of all interfaces
    "RAY_worker_niceness": "0",  # as the local backend's processes, which get their share of a busy machine
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
EVERYWHERE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def require_ray() -> None:
    """Raise ConfigError if Ray is not installed."""
    if find_spec("ray") is None:
        raise ConfigError(f"backend=ray needs Ray, which is not installed: {installing('ray')}")


@contextmanager
def connected(address: str | None) -> Iterator[Path | None]:
    """Be connected to the cluster at `address`; yield the folder of one that is started here, else None.

    A program that is connected to a cluster already keeps its connection, and uses it where no other is named.

    Raises:
        ConfigError: if there is no such cluster, or its Python or Ray is another.
    """
    require_ray()
    with ExitStack() as stack:
        stack.enter_context(_signals_kept())
        stack.enter_context(patch.dict(os.environ, EVERYWHERE if address else OF_OUR_OWN | EVERYWHERE))
        import ray

        if ray.is_initialized():
            _require_same(address)
            yield None
            return
        if address is None:
            folder = Path(tempfile.mkdtemp(prefix="convsweep-", dir=os.environ.get("RAY_TMPDIR")))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(_settings_known())
            given: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False, "_temp_dir": str(folder)}
            stack.callback(ray.shutdown)
            _connect("local", **given)
        else:
            folder = None
            _require_reachable(address)
            stack.callback(ray.shutdown)
            _connect(address)
        stack.enter_context(_quiet())
        yield folder


def _require_same(address: str | None) -> None:
    """Raise ConfigError unless the cluster that this program is connected to is the one that is asked for."""
    import ray

    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", here):
        raise ConfigError(
            f"backend.address={address}: this program is connected to the cluster at {here}. Leave backend.address out "
            "to use that, or call ray.shutdown() first"
        )


def cluster_address(address: str | None) -> str:
    """Return the address of the cluster that this program is connected to, which was named by `address`."""
    import ray

    if address and address.startswith("ray://"):  # whose client does not know the cluster's own
        return address
    return str(ray.get_runtime_context().gcs_address)


def _connect(address: str, **given: Any) -> None:
    import ray

    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **given)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.AuthenticationError) as error:
        words = f"backend.address={address}"
        text = " ".join(" ".join(map(str, with_causes(error))).split())
        if "ersion mismatch" in text:
            there = re.search(r"Ray: (\S+) Python: (\S+)", text)
            theirs = f"Ray {there[1]} and Python {there[2]}" if there else "others"
            here = f"Ray {ray.__version__} and Python {sys.version.split()[0]}"
            raise ConfigError(f"{words}: the cluster has {theirs}, this machine {here}; all need the same") from error
        if re.search("InvalidAuthToken|AuthenticationError|Unauthenticated", text):
            raise ConfigError(f"{words}: the password given here is not the cluster's. {_PASSWORD}") from error
        if address == "local":
            raise ConfigError(f"Ray cannot be started here: {root_cause(error)}") from error
        hint = "start one with `ray start --head`, or leave backend.address out" if address == "auto" else _WHO
        raise ConfigError(f"{words} cannot be used: {_what_failed(error).rstrip('.')}; {hint}") from error


def _what_failed(error: Exception) -> str:
    """Return the message of the first cause in one line: the last one where it quotes a traceback."""
    text = str(with_causes(error)[-1])
    return last_line(text) if "Traceback" in text else root_cause(error)


_PASSWORD = "A cluster with a password needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
_WHO = (
    "HOST:PORT is for a machine that is part of the cluster, `ray start --address=HOST:PORT`; from any other it is "
    f"ray://HOST:10001. {_PASSWORD}"
)


def _require_reachable(address: str) -> None:
    """Raise ConfigError unless something answers at HOST:PORT; Ray itself would wait for half a minute."""
    if address == "auto":
        return
    host, _, port = re.sub(r"^ray://", "", address).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
        _require_grpc(f"{host}:{port}")
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"backend.address={address}: no cluster answers at {host}:{port}: {reason(error)}. Start one there with "
            "`ray start --head`, or leave backend.address out to use this machine"
        ) from error


def _require_grpc(place: str) -> None:
    """Raise TimeoutError where something answers that does not speak as Ray does; Ray would wait for minutes."""
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    import grpc

    with grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=REACH_SECONDS / 2)
        except grpc.FutureTimeoutError:
            raise TimeoutError("what listens there is no Ray") from None


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handlers of signals that Ray sets when it is started, and when it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _settings_known() -> Iterator[None]:
    """Let a Ray that is imported already know of the environment variables that it reads when it is."""
    from ray._private import ray_constants
    from ray._raylet import Config  # type: ignore[attr-defined]

    Config.initialize("")
    with patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray from printing the deaths of workers on stdout, which log_to_driver=False leaves."""
    from ray._private import worker

    with patch.object(worker, "print_to_stdstream", lambda *arguments, **settings: None):
        yield
