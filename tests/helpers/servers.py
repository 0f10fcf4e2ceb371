"""PostgreSQL, MLflow's server and proxies before it: started on free ports of 127.0.0.1, ended whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import need

if TYPE_CHECKING:
    import psycopg

USER, PASSWORD = "convsweep", "s3cret-of-postgres"
START_SECONDS = 60.0
# Waits until whoever started it is gone, however that ended, and then ends a group of processes.
REAPER = """
import os, signal, sys
sys.stdin.read()
try:
    os.killpg(int(sys.argv[1]), signal.SIGKILL)
except ProcessLookupError:
    pass
"""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Return once the condition holds; fail if that takes longer."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)


@dataclass
class Service:
    """A process that serves a port, to be started and stopped any number of times."""

    command: Sequence[str]
    port: int
    log: Path
    answers: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    reaper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return once it answers."""
        with self.log.open("ab") as log:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=environment | self.environment,
                start_new_session=True,  # Ctrl-C is for the test; and all of it is ended at once
            )
        reap = [sys.executable, "-S", "-c", REAPER, str(self.process.pid)]
        self.reaper = subprocess.Popen(reap, stdin=subprocess.PIPE, start_new_session=True)

        def is_ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended:\n{self.log.read_text()[-2000:]}"
            return self.answers()

        wait_until(is_ready, self.command[0])

    def stop(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """End it and its children, and return once they are gone."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, sign)
        try:
            self.process.wait(20)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            if self.reaper:
                self.reaper.communicate()


def answers_http(port: int, path: str) -> bool:
    """Return whether a server answers there, whatever it says."""
    with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    return False


@dataclass
class Postgres:
    """A PostgreSQL of its own, with a user who needs a password, and databases by name."""

    service: Service
    programs: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.service.port

    def url(self, database: str, driver: str = "postgresql+psycopg", password: str = PASSWORD) -> str:
        """Return a database's address."""
        return f"{driver}://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def connected(self, database: str) -> psycopg.Connection:
        """Return a connection to a database."""
        import psycopg

        return psycopg.connect(self.url(database, "postgresql"), autocommit=True)

    def run(self, *statements: str) -> None:
        """Execute statements, each by itself, in the database of administration."""
        with self.connected("postgres") as connection:
            for statement in statements:
                connection.execute(statement)

    def count(self, database: str, query: str) -> int:
        """Return the one number that a query gives."""
        with self.connected(database) as connection:
            (number,) = connection.execute(query).fetchone() or (0,)
        return int(number)

    def dump(self, database: str) -> str:
        """Return all that stands in a database, as text."""
        command = [str(self.programs / "pg_dump"), self.url(database, "postgresql")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def create(self, database: str, template: str = "template0") -> None:
        """Create a database, or create it anew; as a copy of another, if asked. Whoever is connected is thrown out."""
        self.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"CREATE DATABASE {database} TEMPLATE {template}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL: as its own user where this is root, which it refuses."""
    programs = Path(shutil.which("initdb") or "")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    need(bool(programs.name or found), "no PostgreSQL; apt-get install postgresql, or brew install postgresql")
    programs = (found[-1] if found else programs).parent
    other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not of pytest, whose folders no other user may enter
    try:
        if other:
            shutil.chown(folder, "postgres", "postgres")
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        made = [*other, str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "-E", "UTF8"]
        made += ["--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
        command = [*other, str(programs / "postgres"), "-D", str(folder / "data")]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        server = Postgres(Service(command, port, folder / "log", lambda: _is_open(server), folder=folder), programs)
        server.service.start()
        try:
            yield server
        finally:
            server.service.stop(signal.SIGINT)  # which ends its connections
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_open(server: Postgres) -> bool:
    import psycopg

    with suppress(psycopg.OperationalError):
        server.run("SELECT 1")
        return True
    return False


def mlflow_service(folder: Path, backend: str, *words: str, **environment: str) -> Service:
    """Return an MLflow server on a free port, not started, whose log and artifacts lie in `folder`.

    Args:
        folder: Whose `artifacts` are the destination, unless the words say otherwise.
        backend: Its database.
        words: Further arguments.
        environment: Variables of its environment.
    """
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if "--artifacts-destination" not in words and "--no-serve-artifacts" not in words:
        command += ["--artifacts-destination", str(folder / "artifacts")]
    told = {
        "MLFLOW_BACKEND_STORE_URI": backend,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight more processes, for language models
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "mlflow.log"
    return Service([*command, *words], port, log, lambda: answers_http(port, "/health"), told | environment, folder)


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """Start a service, and end it whatever happens."""
    with ExitStack() as ending:
        ending.callback(service.stop)
        service.start()
        yield service


class Proxy(BaseHTTPRequestHandler):
    """Hands requests on to the server at `port`, and its answers back; subclasses come between."""

    port = 0

    def do_GET(self) -> None:
        self.hand_on()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

    def hand_on(self, **headers: str) -> None:
        """Hand the request on, with these headers replaced, and the answer back."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(self.command, self.path, body, dict(self.headers) | headers)
            answer = connection.getresponse()
            self.answer(answer.status, answer.getheader("Content-Type", ""), answer.read())

    def answer(self, status: int, kind: str, content: bytes) -> None:
        """Answer the request."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def proxied(proxy: type[Proxy], port: int) -> Iterator[str]:
    """Run a proxy before the server at `port`; yield its address."""
    proxy.port = port
    with ThreadingHTTPServer(("127.0.0.1", 0), proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
