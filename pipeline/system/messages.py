"""Text for people: errors in a line, names without control characters, addresses without passwords."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from pipeline.system.addresses import SERVERS, sqlite_file

MOST_CHARACTERS = 300  # of an error's message

# A password may hold any character, so the last @ of a word ends it.
_USERINFO = re.compile(r"""(://[^\s/:@"'<>]*:)[^\s"'<>]+@""")
_SECRET_NAME = r"""[?&][^\s=&"']*(?:pass|pwd|secret|token|key|credential|auth|odbc_connect)[^\s=&"']*="""
_QUERY = re.compile(rf"""({_SECRET_NAME})[^\s&"'<>]+""", re.IGNORECASE)
_QUERY_VALUE = re.compile(rf"{_SECRET_NAME}([^&]+)", re.IGNORECASE)

_SECRETS: set[str] = set()  # passwords that this process was given
SHORTEST_SECRET = 4  # masking shorter ones would hide parts of other words
SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY")


def one_line(error: BaseException) -> str:
    """Return the error's class and the first line of its message, without passwords."""
    return masked(f"{type(error).__name__}: {_first_line(error)}")[:MOST_CHARACTERS]


def reason(error: BaseException) -> str:
    """Return what went wrong with a file or an address in one line that does not repeat its name."""
    detail = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error) or type(error).__name__
    return printable(reason(detail) if isinstance(detail, BaseException) else str(detail).strip().partition("\n")[0])


def root_cause(error: BaseException) -> str:
    """Return the message of the first cause in one line: what failed, without the libraries that wrapped it."""
    first = with_causes(error)[-1]
    return masked(_first_line(first) or type(first).__name__)[:MOST_CHARACTERS]


def with_causes(error: BaseException) -> list[BaseException]:
    """Return the error and all that it was raised from, the first cause last."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    return chain


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def printable(text: object) -> str:
    r"""Return `text` with every unprintable character escaped, as \x1b.

    A file's name may hold line breaks, terminal control codes, and bytes that cannot be encoded.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def hide(address: str) -> None:
    """Let `masked` hide the password in this address wherever a library repeats it, whole or in part."""
    scheme, _, rest = address.partition("://")
    user, colon, password = rest.rpartition("@")[0].partition(":")
    secret = password if colon else user if scheme in SERVERS else ""  # a server's user without password is a token
    secrets = {secret, unquote(secret), *re.split(r"[/?#@]", secret), *_QUERY_VALUE.findall(rest)}
    _SECRETS.update(part for part in secrets if len(part) >= SHORTEST_SECRET)


def hide_environment() -> None:
    """Let `masked` hide what the environment says of passwords for MLflow, PostgreSQL and S3."""
    _SECRETS.update(secret for name in SECRET_VARIABLES if len(secret := os.environ.get(name, "")) >= SHORTEST_SECRET)


def masked(text: str) -> str:
    """Return the text with *** for every password in an address, before its host or among its parameters."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _QUERY.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


def masked_whole(address: str) -> str:
    """Return a malformed address with *** for everything between its scheme and its last @."""
    return re.sub(r"://.*@", "://***@", masked(address), flags=re.DOTALL)


def shown_address(address: str) -> str:
    """Return an SQLite database's file, or any other address without its password."""
    return str(sqlite_file(address) or masked(address))


def installing(extra: str) -> str:
    """Return how an extra of this package is installed, which is on no index."""
    return f"in convsweep's checkout, pip install '.[{extra}]'"
