"""MLflow's pages on this project's store: its server as a child process, and the browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import webbrowser
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console

from pipeline.config import ConfigError, StoreConfig, did_you_mean
from pipeline.tracking import Tracker

START_SECONDS = 240.0


def serve(store: StoreConfig, sweep: str | None, open_browser: bool, console: Console) -> int:
    """Serve MLflow's pages on 127.0.0.1 until Ctrl-C, opened at the sweep's saved view; the exit code.

    Raises:
        ConfigError: if the store or the sweep does not exist, or the server does not start.
    """
    _require_free(store.ui_port)
    address = f"http://127.0.0.1:{store.ui_port}"
    page = address + _page(store, sweep)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.mlflow_uri]
    command += ["--default-artifact-root", (store.folder / "artifacts").as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(store.ui_port), "--workers", "1"]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _wait(server, address)
        console.print(f"MLflow's pages: {page}\nCtrl-C ends the server", soft_wrap=True, highlight=False)
        if open_browser:
            webbrowser.open(page)
        return server.wait()
    except KeyboardInterrupt:  # the way to end it
        return 0
    finally:
        server.terminate()
        server.wait()


def _require_free(port: int) -> None:
    """Raise ConfigError if something listens on the port: another server's pages must not pass for ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            told = error.strerror or error
            raise ConfigError(f"port {port} cannot be used ({told}); choose another with store.ui_port=...") from None


def _page(store: StoreConfig, sweep: str | None) -> str:
    if not store.exists:
        raise ConfigError(f"there is nothing in {store.folder} yet: run `convsweep train` or `convsweep ablate` first")
    if sweep is None:
        return "/#/experiments"
    tracker = Tracker(store)
    path = tracker.view_of(sweep)
    if path is None:
        known = tracker.sweeps()
        raise ConfigError(f"there is no sweep {sweep}{did_you_mean(sweep, known)}. There are: {', '.join(known)}")
    return path


def _wait(server: subprocess.Popen[str], address: str) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(f"{address}/health", timeout=1).close()
            return
        except (URLError, OSError):
            time.sleep(0.2)
    server.terminate()
    told = (server.communicate()[1] or "").strip().splitlines()[-3:]
    why = "it ended" if server.returncode and time.monotonic() < end else f"no answer within {START_SECONDS:.0f} s"
    raise ConfigError(f"MLflow's server did not start ({why}):\n" + "\n".join(told))
