"""`convsweep ui`: serve MLflow's pages on this machine and open the browser."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import threading
import webbrowser
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.system.addresses import is_database
from pipeline.tracking.databases import refuse_broken
from pipeline.tracking.relocation import old_folders
from sweeps.cli.arguments import Commands, split_words, store_of
from sweeps.cli.console import DONE, FAILED

if TYPE_CHECKING:
    import uvicorn

    from pipeline.tracking.reader import RunReader

# How many ports are tried, from store.ui_port on.
PORTS = 100
# How long requests may take to end after Ctrl-C.
GRACE_SECONDS = 3.0


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("ui", help="open MLflow's pages on this project's store")
    parser.set_defaults(run=run)
    words = "a sweep, opened at its saved view; store.root=..., store.ui_port=..."
    parser.add_argument("words", nargs="*", metavar="name", help=words)
    parser.add_argument("--no-browser", action="store_true", help="serve only, and print the address")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Serve MLflow's pages on 127.0.0.1 until Ctrl-C, opened at the sweep's saved view; return the exit code."""
    names, overrides = split_words("ui", arguments.words, least=0, most=1)
    store = store_of(overrides)
    if not is_database(store.mlflow_uri):
        raise ConfigError("store.tracking_uri is a server, which has MLflow's pages itself: open its address")
    if not store.exists:
        raise ConfigError(f"there is nothing in {store.folder} yet: run `convsweep train` or `convsweep ablate` first")
    with suppress(KeyboardInterrupt), listen(store.ui_port) as listening:
        port = listening.getsockname()[1]
        if port != store.ui_port:
            console.print(f"port {store.ui_port} is taken; {port} is free", highlight=False)
        console.print("starting MLflow's pages ...", highlight=False)
        refuse_broken(store)  # MLflow would retry for minutes, or create its tables among others
        from pipeline.tracking.reader import RunReader
        from pipeline.tracking.server import mlflow_server

        server = mlflow_server(store)
        page = f"http://127.0.0.1:{port}{first_page(RunReader(store), next(iter(names), None))}"
        if folders := old_folders(store):
            console.print(
                f"the store was moved or copied: numbers are shown, but files are looked for in {folders[0]}; "
                f"`convsweep doctor --relocate store.root={store.folder}` repairs that",
                style="yellow",
                soft_wrap=True,
            )
        return _serve(server, listening, page, not arguments.no_browser, console)
    return DONE


def _serve(server: uvicorn.Server, listening: socket.socket, page: str, open_browser: bool, console: Console) -> int:
    """Serve until Ctrl-C, and return FAILED if the server ends before."""
    serving = threading.Thread(target=server.run, args=([listening],), daemon=True)
    serving.start()
    try:
        console.print(f"MLflow's pages: {page}\nCtrl-C ends the server", soft_wrap=True, highlight=False)
        if open_browser:
            webbrowser.open(page)
        serving.join()
        console.print("the server of MLflow's pages ended unexpectedly", style="red")
        return FAILED
    finally:
        server.should_exit = True
        with suppress(KeyboardInterrupt):  # a second Ctrl-C ends it at once
            serving.join(GRACE_SECONDS)
        if serving.is_alive():  # a request waits, for a locked database for instance, and Python would wait for it
            os._exit(DONE)


def listen(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1 at `port` or, if that is taken, at the next free one.

    Raises:
        ConfigError: if the port may not be used, or too many are taken.
    """
    ports = range(port, min(port + PORTS, 65536))
    for each in ports:
        try:
            return socket.create_server(("127.0.0.1", each))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                trouble = f"port {each} cannot be used ({os.strerror(error.errno or 0)})"
                raise ConfigError(f"{trouble}; choose another with store.ui_port=...") from None
    raise ConfigError(f"ports {port} to {ports[-1]} are taken; choose another with store.ui_port=...")


def first_page(reader: RunReader, sweep: str | None) -> str:
    """Return the path of the page to open, without host and port: the sweep's saved view, or all experiments.

    Raises:
        ConfigError: if there is no such sweep, or it was deleted.
    """
    if sweep is None:
        return "/#/experiments"
    experiment = reader.find_experiment(sweep)
    if experiment is None:
        names = reader.sweeps()
        raise ConfigError(f"there is no sweep {sweep}{did_you_mean(sweep, names)}. There are: {', '.join(names)}")
    if experiment.lifecycle_stage == "deleted":
        raise ConfigError(f"the sweep {sweep} was deleted in MLflow's pages; a launch of it restores it, with its runs")
    from pipeline.tracking.views import VIEW, view_path

    return view_path(experiment.experiment_id, experiment.tags.get(VIEW))
