"""optuna-dashboard on a store's studies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.schema import StoreConfig
from pipeline.system.messages import installing, shown_address
from pipeline.tracking.databases import OPTUNA, is_made, opened
from pipeline.tracking.views import direct_path
from sweeps.search.storage import open_storage


def dashboard_app(store: StoreConfig) -> Any:
    """Return optuna-dashboard's web app (WSGI) on a store that has studies (see `first_study_page`).

    Where a user has noted nothing on a trial, its note is links to its runs.
    """
    from optuna_dashboard import wsgi

    app = wsgi(open_storage(store))

    def linked(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not re.fullmatch(r"/api/studies/\d+", environment["PATH_INFO"]) or environment["REQUEST_METHOD"] != "GET":
            return cast("Iterable[bytes]", app(environment, start_response))
        started: list[Any] = []
        body = _with_links(b"".join(app(environment, lambda *given: started.extend(given))), store.pages)
        status, headers, *_ = started
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return linked


def _with_links(body: bytes, pages: str) -> bytes:
    """Return what optuna-dashboard tells its page of a study, with links in the notes that are empty."""
    study = json.loads(body)
    for trial in [*study.get("trials", []), *study.get("best_trials", [])]:
        attrs = {attr["key"]: attr["value"] for attr in trial["user_attrs"]}
        with suppress(KeyError, ValueError):  # it has no run, or so many that they are cut off
            runs = zip(json.loads(attrs["seeds"]), json.loads(attrs["run_ids"]), strict=True)
            links = ", ".join(f"[seed {seed}]({pages}{direct_path(run_id)})" for seed, run_id in runs)
            note = {"version": 0, "body": f"Runs in MLflow's pages, which `convsweep ui` serves: {links}"}
            trial["note"] = trial["note"] if trial["note"]["body"] else note
    return json.dumps(study).encode()


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
