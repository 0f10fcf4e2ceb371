"""A web app served to this machine's own browser, by this process: threads per request, nothing to leave behind."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from pipeline.config.checks import ConfigError

Environment = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environment, StartResponse], Iterable[bytes]]

# How many ports are tried, from store.ui_port on.
PORTS = 100


class LocalServer(ThreadingMixIn, WSGIServer):
    """Serves an app on a socket that listens already; `serve_forever` runs it, until Ctrl-C for instance."""

    # A request may wait for a locked database; Python is not to wait for it.
    daemon_threads = True

    def __init__(self, listening: socket.socket, app: Application) -> None:
        """Take the socket over."""
        super().__init__(listening.getsockname()[:2], _Quiet, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        self.set_app(_for_own_pages(app, self.server_port))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a browser ends connections as it likes."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the terminal is for what a user has to know."""


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


def _for_own_pages(app: Application, port: int) -> Application:
    """Answer only requests of the pages themselves: any page in the browser could send others, to delete a study.

    Nor may another page frame ours, and have its visitors click there.
    """
    hosts = {f"{host}:{port}" for host in ("127.0.0.1", "localhost")}

    def checked(environment: Environment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ("X-Frame-Options", "SAMEORIGIN")], *more)

        origin = environment.get("HTTP_ORIGIN", "").removeprefix("http://")
        if environment.get("HTTP_HOST") in hosts and (not origin or origin in hosts):
            return app(environment, start)
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this page is served to this machine's own browser alone\n"]

    return checked
