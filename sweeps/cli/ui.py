"""`convsweep ui`: serve MLflow's pages, or optuna-dashboard's, on this machine and open the browser."""

from __future__ import annotations

import argparse
import socket
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.overrides import in_store
from pipeline.config.schema import StoreConfig
from pipeline.tracking.databases import refuse_broken
from pipeline.tracking.relocation import old_folders
from sweeps.cli.arguments import Commands, split_words, store_of
from sweeps.cli.console import DONE
from sweeps.cli.local_server import LocalServer, listen

if TYPE_CHECKING:
    from pipeline.tracking.reader import RunReader

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
    with suppress(KeyboardInterrupt), pages(store, name, console) as (page, server):
        console.print(f"{page}\nCtrl-C ends the server", soft_wrap=True, highlight=False)
        if not arguments.no_browser:
            webbrowser.open(page.partition(": ")[2])
        server.serve_forever()
    return DONE


def _open_server(store: StoreConfig, sweep: str | None, open_browser: bool, console: Console) -> int:
    """Open the server's own page; return the exit code."""
    from pipeline.tracking.reader import RunReader

    page = store.pages + (first_page(RunReader(store), sweep) if sweep else EXPERIMENTS)
    console.print(f"MLflow's pages: {page}", soft_wrap=True, highlight=False)
    if open_browser:
        webbrowser.open(page)
    return DONE


# The address of the first page, and what serves it.
Pages = Iterator[tuple[str, LocalServer]]


@contextmanager
def _mlflow_pages(store: StoreConfig, sweep: str | None, console: Console) -> Pages:
    if not store.exists:
        raise ConfigError(f"there is nothing in {store.folder} yet: run `convsweep train` or `convsweep ablate` first")
    with _listening(store.ui_port, "MLflow's pages", console) as listening:
        refuse_broken(store)  # MLflow would retry for minutes, or create its tables among others
        from pipeline.tracking.reader import RunReader
        from pipeline.tracking.server import mlflow_app

        path = first_page(RunReader(store), sweep)
        if folders := old_folders(store):
            console.print(
                f"the store was moved or copied: numbers are shown, but files are looked for in {folders[0]}; "
                f"`{in_store('convsweep doctor --relocate', store.folder)}` repairs that",
                style="yellow",
                soft_wrap=True,
            )
        yield f"MLflow's pages: {_address(listening)}{path}", LocalServer(listening, mlflow_app(store))


@contextmanager
def _optuna_pages(store: StoreConfig, study: str | None, console: Console) -> Pages:
    from sweeps.search.dashboard import dashboard_app, first_study_page

    # Beside MLflow's pages, to which it has links.
    with _listening(store.ui_port + 1, "optuna-dashboard", console) as listening:
        path = first_study_page(store, study)
        yield f"optuna-dashboard: {_address(listening)}{path}", LocalServer(listening, dashboard_app(store))


@contextmanager
def _listening(wanted: int, what: str, console: Console) -> Iterator[socket.socket]:
    """Listen on the wanted port, or the next free one; say so, and that the pages take a while to start."""
    with listen(wanted) as listening:
        port = listening.getsockname()[1]
        if port != wanted:
            console.print(f"port {wanted} is taken; {port} is free", highlight=False)
        console.print(f"starting {what} ...", highlight=False)
        yield listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()
    return f"http://{host}:{port}"


def first_page(reader: RunReader, sweep: str | None) -> str:
    """Return the path of the page to open, without host and port: the sweep's saved view, or all experiments.

    Raises:
        ConfigError: if there is no such sweep, or it was deleted.
    """
    if sweep is None:
        return EXPERIMENTS
    experiment = reader.find_experiment(sweep)
    if experiment is None:
        names = reader.experiments()
        raise ConfigError(f"there is no sweep {sweep}{did_you_mean(sweep, names)}. There are: {', '.join(names)}")
    if experiment.lifecycle_stage == "deleted":
        raise ConfigError(f"the sweep {sweep} was deleted in MLflow's pages; a launch of it restores it, with its runs")
    from pipeline.tracking.views import first_view, view_path

    return view_path(experiment.experiment_id, first_view(experiment.tags))
