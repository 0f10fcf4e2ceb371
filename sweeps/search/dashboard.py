"""optuna-dashboard on a store's studies."""

from __future__ import annotations

from typing import Any

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.schema import StoreConfig
from pipeline.system.messages import installing, shown_address
from pipeline.tracking.databases import OPTUNA, is_made, opened
from sweeps.search.storage import open_storage


def dashboard_app(store: StoreConfig) -> Any:
    """Return optuna-dashboard's web app (WSGI) on a store that has studies (see `first_study_page`)."""
    from optuna_dashboard import wsgi

    return wsgi(open_storage(store))


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
