"""`convsweep ui`: serve MLflow's pages, or optuna-dashboard's, on this machine and open the browser."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.schema import StoreConfig
from pipeline.tracking.databases import refuse_broken
from pipeline.tracking.relocation import old_folders
from sweeps.cli.arguments import Commands, split_words, store_of
from sweeps.cli.console import DONE, FAILED

if TYPE_CHECKING:
    from pipeline.tracking.reader import RunReader

# How many ports are tried, from store.ui_port on.
PORTS = 100
# How long requests may take to end after Ctrl-C.
GRACE_SECONDS = 3.0
EXPERIMENTS = "/#/experiments"  # the path of MLflow's page of all of them


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("ui", help="open MLflow's pages, or Optuna's, on this project's store")
    parser.set_defaults(run=run)
    words = "a sweep, opened at its saved view; store.root=..., store.ui_port=..."
    parser.add_argument("words", nargs="*", metavar="name", help=words)
    parser.add_argument("--optuna", action="store_true", help="show Optuna's studies by optuna-dashboard instead")
    parser.add_argument("--no-browser", action="store_true", help="serve only, and print the address")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Serve the pages on 127.0.0.1 until Ctrl-C, opened at the sweep's; return the exit code.

    A server has MLflow's pages itself, which are opened.
    """
    names, overrides = split_words("ui", arguments.words, least=0, most=1)
    store, name = store_of(overrides), next(iter(names), None)
    if store.is_server and not arguments.optuna:
        return _open_server(store, name, not arguments.no_browser, console)
    pages = _optuna_pages if arguments.optuna else _mlflow_pages
    with suppress(KeyboardInterrupt), pages(store, name, console) as (page, serve, stop):
        return _serve(serve, stop, page, not arguments.no_browser, console)
    return DONE


def _open_server(store: StoreConfig, sweep: str | None, open_browser: bool, console: Console) -> int:
    """Open the server's own page; return the exit code."""
    from pipeline.tracking.reader import RunReader

    page = store.pages + (first_page(RunReader(store), sweep) if sweep else EXPERIMENTS)
    console.print(f"MLflow's pages: {page}", soft_wrap=True, highlight=False)
    if open_browser:
        webbrowser.open(page)
    return DONE


# Address of the first page, what serves until it is stopped, and what stops it.
Pages = Iterator[tuple[str, Callable[[], object], Callable[[], object]]]


@contextmanager
def _mlflow_pages(store: StoreConfig, sweep: str | None, console: Console) -> Pages:
    if not store.exists:
        raise ConfigError(f"there is nothing in {store.folder} yet: run `convsweep train` or `convsweep ablate` first")
    with _listening(store, "MLflow's pages", console) as listening:
        refuse_broken(store)  # MLflow would retry for minutes, or create its tables among others
        from pipeline.tracking.reader import RunReader
        from pipeline.tracking.server import mlflow_server

        server = mlflow_server(store)
        path = first_page(RunReader(store), sweep)
        if folders := old_folders(store):
            console.print(
                f"the store was moved or copied: numbers are shown, but files are looked for in {folders[0]}; "
                f"`convsweep doctor --relocate store.root={store.folder}` repairs that",
                style="yellow",
                soft_wrap=True,
            )
        stop = partial(setattr, server, "should_exit", True)
        yield f"MLflow's pages: {_address(listening)}{path}", partial(server.run, [listening]), stop


@contextmanager
def _optuna_pages(store: StoreConfig, study: str | None, console: Console) -> Pages:
    from sweeps.search.dashboard import DashboardServer, first_study_page

    with _listening(store, "optuna-dashboard", console) as listening:
        path = first_study_page(store, study)
        server = DashboardServer(listening, store)
        yield f"optuna-dashboard: {_address(listening)}{path}", server.serve_forever, server.shutdown


@contextmanager
def _listening(store: StoreConfig, what: str, console: Console) -> Iterator[socket.socket]:
    """Listen on the store's port, or the next free one; say so, and that the pages take a while to start."""
    with listen(store.ui_port) as listening:
        port = listening.getsockname()[1]
        if port != store.ui_port:
            console.print(f"port {store.ui_port} is taken; {port} is free", highlight=False)
        console.print(f"starting {what} ...", highlight=False)
        yield listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()
    return f"http://{host}:{port}"


def _serve(
    serve: Callable[[], object], stop: Callable[[], object], page: str, open_browser: bool, console: Console
) -> int:
    """Serve until Ctrl-C, and return FAILED if the server ends before."""
    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    try:
        console.print(f"{page}\nCtrl-C ends the server", soft_wrap=True, highlight=False)
        if open_browser:
            webbrowser.open(page.partition(": ")[2])
        serving.join()
        console.print("the server of these pages ended unexpectedly", style="red")
        return FAILED
    finally:
        stop()
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
        return EXPERIMENTS
    experiment = reader.find_experiment(sweep)
    if experiment is None:
        names = reader.sweeps()
        raise ConfigError(f"there is no sweep {sweep}{did_you_mean(sweep, names)}. There are: {', '.join(names)}")
    if experiment.lifecycle_stage == "deleted":
        raise ConfigError(f"the sweep {sweep} was deleted in MLflow's pages; a launch of it restores it, with its runs")
    from pipeline.tracking.views import VIEW, view_path

    return view_path(experiment.experiment_id, experiment.tags.get(VIEW))
