"""What is an address, and that no password of one is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.system.addresses import DATABASES, SERVERS, is_address, masked, shown, sqlite_file, sqlite_url
from pipeline.tracking.retry import StoreError

SECRET = "hunter2"


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{SECRET}@host:5000/path",
        f"https://:{SECRET}@host",
        f"postgresql+psycopg://user:{SECRET}@host:5432/db",
        f"mysql://us%40er:pa@{SECRET}/x@host/db",
        f"mysql://user:pa%40{SECRET}%2F@host/db",
        f"postgresql://host/db?user=me&password={SECRET}&sslmode=require",
        f"mssql://host/db?PWD={SECRET}",
        f"http://host/?access_token={SECRET}",
        f"sqlite:////x.db?password={SECRET}",
    ],
)
def test_a_password_is_never_shown(address: str) -> None:
    for text in (address, f"['store.tracking_uri={address}']", f'failed: "{address}" (Connection refused)'):
        assert SECRET not in masked(text)
        assert "***" in masked(text)
        assert SECRET not in str(StoreError(text))
    assert SECRET not in shown(address)


@pytest.mark.parametrize("text", ["http://host:5000/#/experiments/1", "sqlite:////a b.db", "model@best", "a: b@c"])
def test_what_holds_no_password_is_shown_as_it_is(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("name", ["plain", "a b", "a%20b", "what?", "c#d", "josé", "a%20b?c#d é", "a+b&c=d"])
def test_every_file_name_has_an_address(tmp_path: Path, name: str) -> None:
    assert sqlite_file(sqlite_url(tmp_path / name)) == tmp_path / name


@pytest.mark.parametrize("text", ["", "..", "x.db", "http://", "sqlite://", "sqlite:///", "sqlite://x.db", "ftp://h/x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not is_address(text, (*SERVERS, *DATABASES))


@pytest.mark.parametrize("text", ["sqlite:///x.db", "sqlite+pysqlite:////x.db?timeout=3", "mysql+pymysql://u:p@h/d"])
def test_addresses_of_databases(text: str) -> None:
    assert is_address(text, DATABASES)
    assert not is_address(text, SERVERS)
