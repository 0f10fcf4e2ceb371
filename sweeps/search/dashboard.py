"""optuna-dashboard on a store's studies, to be served by this process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.schema import StoreConfig
from pipeline.system.messages import installing, shown_address
from pipeline.tracking.databases import OPTUNA, is_made, opened
from sweeps.search.storage import open_storage

Environment = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environment, StartResponse], Iterable[bytes]]


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Serves optuna-dashboard on a socket that listens already; `serve_forever` runs it, `shutdown` ends it."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, store: StoreConfig) -> None:
        """Take the socket over; `store` has studies (see `first_study_page`)."""
        from optuna_dashboard import wsgi

        super().__init__(listening.getsockname()[:2], _Quiet, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        self.set_app(_for_own_pages(wsgi(open_storage(store)), self.server_port))


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the terminal is for what a user has to know."""


def first_study_page(store: StoreConfig, study: str | None) -> str:
    """Return the path of the page to open, without host and port: the study's, or the list of all.

    Raises:
        ConfigError: if optuna-dashboard is not installed, or there is no such study.
        UnopenedStoreError: if the store cannot be opened.
    """
    try:
        import optuna_dashboard  # noqa: F401
    except ImportError:
        raise ConfigError(
            f"optuna-dashboard is not installed, which shows Optuna's studies: {installing('dashboard')}"
        ) from None
    ids = opened(store.optuna_uri, store.retry_seconds, lambda: _studies(store))
    if not ids:
        raise ConfigError(f"there is no study in {shown_address(store.optuna_uri)} yet: run `convsweep study` first")
    if study is None:
        return "/dashboard"
    if study not in ids:
        raise ConfigError(f"there is no study {study}{did_you_mean(study, ids)}. There are: {', '.join(ids)}")
    return f"/dashboard/studies/{ids[study]}"


def _studies(store: StoreConfig) -> dict[str, int]:
    """Return the ids of the store's studies by name; create nothing."""
    if not is_made(store.optuna_uri, OPTUNA):
        return {}
    return {study.study_name: study._study_id for study in open_storage(store).get_all_studies()}


def _for_own_pages(app: Application, port: int) -> Application:
    """Answer only requests of the pages themselves: any page in the browser could send others, to delete a study."""
    hosts = {f"{host}:{port}" for host in ("127.0.0.1", "localhost")}

    def checked(environment: Environment, start_response: StartResponse) -> Iterable[bytes]:
        origin = environment.get("HTTP_ORIGIN", "").removeprefix("http://")
        if environment.get("HTTP_HOST") in hosts and (not origin or origin in hosts):
            return app(environment, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this page is served to this machine's own browser alone\n"]

    return checked
