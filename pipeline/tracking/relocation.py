"""A store that was moved or copied: MLflow keeps absolute addresses of files, which then name the old place."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.config.schema import StoreConfig

# Every column of MLflow's database that holds the address of a file.
ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def old_roots(store: StoreConfig) -> list[str]:
    """Return the folders, as file URIs, that the database in `store.folder` names as its own and that are others.

    Empty where the store lies where it was made, and for a database that is not in the folder.

    Raises:
        sqlite3.Error: if the database cannot be read.
    """
    path = store.folder / "mlflow.db"
    if store.tracking_uri is not None or not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", timeout=store.retry_seconds, uri=True)) as database:
        # Nothing of ours is in MLflow's own experiment, 0.
        rows = database.execute("SELECT artifact_location FROM experiments WHERE experiment_id != 0")
        places = [str(place) for (place,) in rows]
    roots = {place.rpartition("/artifacts/")[0] for place in places if place.startswith("file:///")}
    return sorted(roots - {store.folder.as_uri(), ""})


def relocate(store: StoreConfig) -> int:
    """Let the database in `store.folder` name this folder wherever it names an old one; return the addresses changed.

    Raises:
        sqlite3.Error: if the database cannot be written.
    """
    changed = 0
    with closing(sqlite3.connect(store.folder / "mlflow.db", timeout=store.retry_seconds)) as database, database:
        for uri in old_roots(store):
            for old, new in ((uri, store.folder.as_uri()), (str(place_of(uri)), str(store.folder))):
                for table, columns in ADDRESSES.items():
                    for column in columns:
                        changed += _replace(database, table, column, old + "/", new + "/")
    return changed


def _replace(database: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    """Replace the beginning `old` of a column's values by `new`; return how many had it."""
    statement = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
    return database.execute(statement, (new, len(old) + 1, len(old), old)).rowcount


def place_of(uri: str) -> Path:
    """Return a file URI as a path."""
    return Path(url2pathname(urlsplit(uri).path))
