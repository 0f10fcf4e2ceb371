"""MLflow's pages on this project's store: its own web app, served by this process, and the browser."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import threading
import warnings
import webbrowser
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.schema import StoreConfig
from pipeline.system.addresses import is_database
from pipeline.tracking.databases import MLFLOW, is_made, opened, refuse_broken
from pipeline.tracking.relocation import old_roots, place_of
from pipeline.tracking.tracker import view_path

if TYPE_CHECKING:
    import uvicorn
    from mlflow.entities import Experiment

# How many ports are tried, from the configured one on.
PORTS = 100
# Seconds that answers on their way are given at Ctrl-C.
GRACE_SECONDS = 3.0
# As many as MLflow lists at once.
MOST_EXPERIMENTS = 50_000
# What MLflow's server is started with. Its jobs are for language models, and are eight further processes.
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
# MLflow's page keeps these in the browser. Unset, it begins with language models, a banner, and an assistant in front.
SETTINGS = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.telemetry.info.alert.dismissed_v1": "true",
    "mlflow.settings.telemetry.enabled_v1": "false",
}
SCRIPT = """<script>
for (const [key, value] of Object.entries(%s)) if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
</script>"""


def serve(store: StoreConfig, sweep: str | None, open_browser: bool, console: Console) -> int:
    """Serve MLflow's pages on 127.0.0.1 until Ctrl-C, opened at the sweep's saved view; the exit code.

    Raises:
        ConfigError: if the store or the sweep does not exist, or no port is free.
        UnopenedStoreError: if the store cannot be opened.
    """
    if not is_database(store.mlflow_uri):
        raise ConfigError("store.tracking_uri is a server, which has MLflow's pages itself: open its address")
    if not store.exists:
        raise ConfigError(f"there is nothing in {store.folder} yet: run `convsweep train` or `convsweep ablate` first")
    with suppress(KeyboardInterrupt), listen(store.ui_port) as listening:  # Ctrl-C is the way to end it
        port = listening.getsockname()[1]
        if port != store.ui_port:
            console.print(f"port {store.ui_port} is taken; {port} is free", highlight=False)
        console.print("starting MLflow's pages ...", highlight=False)
        refuse_broken(store)  # MLflow would try for minutes, or make its tables among others
        server = _server(store)
        page = f"http://127.0.0.1:{port}{first_page(_experiments(store), sweep)}"
        _tell_if_moved(store, console)
        serving = threading.Thread(target=server.run, args=([listening],), daemon=True)
        serving.start()
        try:
            console.print(f"MLflow's pages: {page}\nCtrl-C ends the server", soft_wrap=True, highlight=False)
            if open_browser:
                webbrowser.open(page)
            serving.join()
            console.print("MLflow's pages ended by themselves", style="red")
            return 1
        finally:
            _end(server, serving)
    return 0


def _tell_if_moved(store: StoreConfig, console: Console) -> None:
    if roots := old_roots(store):
        console.print(
            f"the store was moved or copied: numbers are shown, but files are looked for in {place_of(roots[0])}; "
            f"`convsweep doctor --relocate store.root={store.folder}` mends that",
            style="yellow",
            soft_wrap=True,
        )


def listen(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1 at `port` or, where that is taken, at the next free one.

    Raises:
        ConfigError: if the port may not be used, or too many are taken.
    """
    ports = range(port, min(port + PORTS, 65536))
    for each in ports:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just given back is free
        try:
            listening.bind(("127.0.0.1", each))
            listening.listen()
            return listening
        except OSError as error:
            listening.close()
            if error.errno != errno.EADDRINUSE:
                why = f"port {each} cannot be used ({error.strerror}); choose another with store.ui_port=..."
                raise ConfigError(why) from None
    raise ConfigError(f"ports {port} to {ports[-1]} are taken; choose another with store.ui_port=...")


def _server(store: StoreConfig) -> uvicorn.Server:
    """MLflow's web app on the store; settings and addresses are handed over within this process."""
    os.environ.update(ENVIRONMENT)
    import uvicorn  # before MLflow, which else takes itself for a client, and checks no hosts and origins

    with warnings.catch_warnings(action="ignore"):  # of what MLflow imports
        from mlflow.server import app
        from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
        from mlflow.server.fastapi_app import app as pages

    os.environ[BACKEND_STORE_URI_ENV_VAR] = store.mlflow_uri
    os.environ[ARTIFACT_ROOT_ENV_VAR] = (store.folder / "artifacts").as_uri()
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of every refused request, which any page can send
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what it raises is told in one line
    start = Path(str(app.static_folder), "index.html").read_text()
    start = start.replace("<head>", "<head>" + SCRIPT % json.dumps(SETTINGS), 1)
    app.view_functions["serve"] = lambda: start
    return uvicorn.Server(uvicorn.Config(pages, log_config=None, log_level="error", access_log=False))


def first_page(experiments: Mapping[str, Experiment], sweep: str | None) -> str:
    """Address of what is shown first, behind host and port: a sweep's saved view, or the list of experiments.

    Raises:
        ConfigError: if there is no such sweep, or it was deleted.
    """
    if sweep is None:
        return "/#/experiments"
    deleted = {name for name, each in experiments.items() if each.lifecycle_stage == "deleted"}
    if sweep not in experiments:
        names = sorted(experiments.keys() - deleted - {"Default"})
        raise ConfigError(f"there is no sweep {sweep}{did_you_mean(sweep, names)}. There are: {', '.join(names)}")
    if sweep in deleted:
        raise ConfigError(f"the sweep {sweep} was deleted in MLflow's pages; a launch of it restores it, with its runs")
    return view_path(experiments[sweep].experiment_id, experiments[sweep].tags.get("convsweep.view"))


def _experiments(store: StoreConfig) -> dict[str, Experiment]:
    """The experiments of MLflow's web app by name, deleted ones too; opens the store."""
    from mlflow.entities import ViewType
    from mlflow.server.handlers import _get_tracking_store, initialize_backend_stores

    def opening() -> dict[str, Experiment]:
        is_made(store.mlflow_uri, MLFLOW)
        initialize_backend_stores(store.mlflow_uri, store.mlflow_uri)
        tracking: Any = _get_tracking_store()
        return {each.name: each for each in tracking.search_experiments(ViewType.ALL, max_results=MOST_EXPERIMENTS)}

    return opened(store.mlflow_uri, store.retry_seconds, opening)


def _end(server: uvicorn.Server, serving: threading.Thread) -> None:
    """End the server, after GRACE_SECONDS or at a second Ctrl-C whatever it is doing."""
    server.should_exit = True
    with suppress(KeyboardInterrupt):
        serving.join(GRACE_SECONDS)
    if serving.is_alive():  # an answer waits, for a locked database for instance, and Python would wait for it
        os._exit(0)
