"""Which text is an address, and the files of SQLite addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.system.addresses import DATABASES, SERVERS, is_address, sqlite_file, sqlite_url


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
