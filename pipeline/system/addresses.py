"""Addresses of databases and servers: what is one, which file it names, and how it is shown: never with a password."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")

# All that may be a password: it may hold any sign, so the last @ of a word ends it.
_USERINFO = re.compile(r"""(://[^\s/:@"'<>]*:)[^\s"'<>]+@""")
_SECRET_NAME = r"""[?&][^\s=&"']*(?:pass|pwd|secret|token|key|credential|auth|odbc_connect)[^\s=&"']*="""
_QUERY = re.compile(rf"""({_SECRET_NAME})[^\s&"'<>]+""", re.IGNORECASE)
_QUERY_VALUE = re.compile(rf"{_SECRET_NAME}([^&]+)", re.IGNORECASE)


# Passwords that this process was given; shorter ones would hide parts of other words.
_SECRETS: set[str] = set()
SHORTEST_SECRET = 4


def hide(address: str) -> None:
    """Let `masked` hide the password in this address wherever a library repeats it, whole or cut at a sign."""
    scheme, _, rest = address.partition("://")
    user, colon, password = rest.rpartition("@")[0].partition(":")
    secret = password if colon else user if scheme in SERVERS else ""  # a server's user without password is a token
    secrets = {secret, unquote(secret), *re.split(r"[/?#@]", secret), *_QUERY_VALUE.findall(rest)}
    _SECRETS.update(each for each in secrets if len(each) >= SHORTEST_SECRET)


def masked(text: str) -> str:
    """The text with *** for every password in an address, before its host or among its parameters."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _QUERY.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


def masked_whole(address: str) -> str:
    """What is meant as an address, as it may be shown: with *** for all between its scheme and its last @."""
    return re.sub(r"://.*@", "://***@", masked(address), flags=re.DOTALL)


def shown(address: str) -> str:
    """An address as it may be shown: an SQLite database as its file, others without their password."""
    return str(sqlite_file(address) or masked(address))


def is_address(text: str, schemes: tuple[str, ...]) -> bool:
    """Whether the text has the form of an address with one of the schemes; a database's may name a driver."""
    scheme, _, rest = text.partition("://")
    kind = scheme.partition("+")[0]
    if kind not in schemes or re.search(r"\s", scheme) or not rest:
        return False
    if kind != "sqlite" and re.search(r"""[\s"'<>]""", rest):  # what no address has, and what `masked` ends at
        return False
    return re.fullmatch(r"/[^?]+(\?.*)?", rest) is not None if kind == "sqlite" else rest[0] not in "/?#"


def is_database(address: str) -> bool:
    """Whether the address is a database's, and not a server's."""
    return address.partition("://")[0].partition("+")[0] in DATABASES


def sqlite_url(file: Path) -> str:
    """The address of an SQLite database in a file, whatever signs the file's name has.

    Raises:
        ValueError: if the installed SQLAlchemy knows no such address.
    """
    from sqlalchemy.engine import URL, make_url

    # With the driver's name: of an address without it MLflow makes the folder, and takes its %20 literally.
    url = URL.create("sqlite+pysqlite", database=str(file)).render_as_string(hide_password=False)
    if make_url(url).database != str(file):
        raise ValueError(f"{file} has signs that SQLAlchemy cannot address; choose another folder")
    return url


def sqlite_file(address: str) -> Path | None:
    """The file of an SQLite database, absolute; None for any other address."""
    if not address.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    url = make_url(address)
    return None if "uri" in url.query or url.database in (None, "", ":memory:") else Path(str(url.database)).absolute()
