"""Stores that were moved or copied: MLflow's database holds absolute paths, which then point to the old place."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.config.overrides import in_store
from pipeline.config.schema import StoreConfig
from pipeline.tracking.retry import UnopenedStoreError

# Every column of MLflow's database that holds the address of a file.
ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def old_folders(store: StoreConfig) -> list[Path]:
    """Return the folders where the database in `store.folder` looks for files, if they are others.

    Empty for a database that is not in the folder.

    Raises:
        sqlite3.Error: if the database cannot be read.
    """
    return [_path(uri) for uri in _old_uris(store)]


def require_own_place(store: StoreConfig) -> None:
    """Raise UnopenedStoreError if the store was moved or copied: its files would be sought in the old place."""
    if folders := old_folders(store):
        command = in_store("convsweep doctor --relocate", store.folder)
        raise UnopenedStoreError(
            f"the store {store.folder} was moved or copied: its database still looks for files in "
            f"{', '.join(map(str, folders))}. To use it here: {command}"
        )


def relocate(store: StoreConfig) -> int:
    """Replace every old folder in the database in `store.folder` by this one; return the number of changed addresses.

    Raises:
        sqlite3.Error: if the database cannot be written.
    """
    changed = 0
    with closing(sqlite3.connect(store.folder / "mlflow.db", timeout=store.retry_seconds)) as database, database:
        for uri in _old_uris(store):
            for old, new in ((uri, store.folder.as_uri()), (str(_path(uri)), str(store.folder))):
                for table, columns in ADDRESSES.items():
                    for column in columns:
                        changed += _replace(database, table, column, old + "/", new + "/")
    return changed


def _replace(database: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    """Replace the prefix `old` of a column's values by `new`; return how many had it."""
    statement = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
    return database.execute(statement, (new, len(old) + 1, len(old), old)).rowcount


def _old_uris(store: StoreConfig) -> list[str]:
    path = store.folder / "mlflow.db"
    if store.tracking_uri is not None or not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", timeout=store.retry_seconds, uri=True)) as database:
        # MLflow's own experiment, 0, holds nothing of ours.
        rows = database.execute("SELECT artifact_location FROM experiments WHERE experiment_id != 0")
        roots = {str(uri).rpartition("/artifacts/")[0] for (uri,) in rows if str(uri).startswith("file:///")}
    return sorted(roots - {store.folder.as_uri(), ""})


def _path(uri: str) -> Path:
    from urllib.request import url2pathname

    return Path(url2pathname(urlsplit(uri).path))
