"""Addresses of databases and servers: which text is one, and which file an SQLite address names."""

from __future__ import annotations

import re
from pathlib import Path

LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def is_address(text: str, schemes: tuple[str, ...]) -> bool:
    """Return whether the text has the form of an address with one of the schemes; a database's may name a driver."""
    scheme, _, rest = text.partition("://")
    kind = scheme.partition("+")[0]
    if kind not in schemes or re.search(r"\s", scheme) or not rest:
        return False
    if kind != "sqlite" and re.search(r"""[\s"'<>]""", rest):  # no address has these, and `masked` ends at them
        return False
    return re.fullmatch(r"/[^?]+(\?.*)?", rest) is not None if kind == "sqlite" else rest[0] not in "/?#"


def is_database(address: str) -> bool:
    """Return whether the address is a database's, not a server's."""
    return address.partition("://")[0].partition("+")[0] in DATABASES


def without_user(address: str) -> str:
    """Return a server's address without user, password and final slash."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.rpartition("@")[2].partition("/")
    return f"{scheme}://{host}{slash}{path}".rstrip("/")


def is_same_database(one: str, other: str) -> bool:
    """Return whether two addresses name one database, by whatever driver, user, or name of this machine."""
    return is_database(one) and is_database(other) and _place(one) == _place(other)


def _place(address: str) -> object:
    """Return what tells a database from others; the address itself where it cannot be read."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if address.startswith("sqlite"):
        return sqlite_file(address) or address
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return address
    kind, query = url.drivername.partition("+")[0], url.query
    host, port = (url.host or query.get("host", "")), (url.port or query.get("port", ""))
    is_local = str(host).lower() in LOCAL_HOSTS or str(host).startswith("/")  # a socket's folder
    name = url.database or query.get("dbname") or url.username
    return kind, "localhost" if is_local else str(host).lower(), str(port or PORTS.get(kind, "")), name


def sqlite_url(file: Path) -> str:
    """Return the address of an SQLite database in a file, whatever characters its name has.

    Raises:
        ValueError: SQLAlchemy cannot express the file's name in an address.
    """
    from sqlalchemy.engine import URL, make_url

    # With the driver's name: of an address without it MLflow makes the folder, and takes its %20 literally.
    url = URL.create("sqlite+pysqlite", database=str(file)).render_as_string(hide_password=False)
    if make_url(url).database != str(file):
        raise ValueError(f"{file} has signs that SQLAlchemy cannot address; choose another folder")
    return url


def sqlite_file(address: str) -> Path | None:
    """Return the absolute path of an SQLite database's file, None for any other address."""
    if not address.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    url = make_url(address)
    return None if "uri" in url.query or url.database in (None, "", ":memory:") else Path(str(url.database)).absolute()
