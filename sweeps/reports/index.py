"""The index: what came of every sweep of a store, from the claims.json of its report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.config.compose import to_dict
from pipeline.config.schema import StoreConfig
from pipeline.tracking.locks import locked
from sweeps.reports.context import LOCK, REPORTS
from sweeps.reports.page import Page, render

SUMMARY = "claims.json"


def write_summary(page: Page, changed: Sequence[str], made: str, folder: Path) -> None:
    """Write all that the index shows of a sweep.

    `changed` says what makes it another experiment than its file's, and `made` when and on what it was measured.
    """
    summary = {
        "kind": page.kind,
        "name": page.name,
        "description": page.description,
        "title": page.title,
        "headline": page.headline,
        "discussion": to_dict(page.discussion) if page.discussion else None,
        "remarks": [to_dict(remark) for remark in page.remarks],
        "changed": list(changed),
        "method": page.method,
        "made": made,
        "findings": [finding.as_dict() for finding in page.findings],
        "numbers": [finding.as_dict() for finding in page.numbers],
    }
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2))


def publish_index(store: StoreConfig) -> Path | None:
    """Write reports/index.html and reports/results.md over all sweeps with a report; None without any."""
    folder = store.folder / REPORTS
    pages = [page for path in sorted(folder.glob(f"[!.]*/{SUMMARY}")) if (page := _read_summary(path))]
    if not pages:
        return None
    with locked(store, LOCK):
        for name, text in render_index(pages, f"Written on {datetime.now(UTC).date().isoformat()}.").items():
            fresh = folder / f".{name}"
            fresh.write_text(text)
            fresh.replace(folder / name)
    return folder / "index.html"


def render_index(pages: Sequence[Mapping[str, Any]], written: str) -> dict[str, str]:
    """Return index.html and results.md by name, of all sweeps' summaries.

    Modified ablations, run with other configs than their files', stand apart and do not count.
    """
    shown = [page for page in pages if not page["changed"]]
    values = {
        "pages": shown,
        "changed": [page for page in pages if page["changed"]],
        "findings": [finding for page in shown for finding in page["findings"]],
        "numbers": [finding for page in shown for finding in page["numbers"]],
        "methods": list(dict.fromkeys(page["method"] for page in pages if page["method"])),
        "written": written,
    }
    return {"index.html": render("index.html.j2", **values), "results.md": render("index.md.j2", **values)}


def _read_summary(path: Path) -> dict[str, Any]:
    """Return a sweep's summary; empty if no index can be made from it, until its own report is made again."""
    from jinja2 import TemplateError

    try:
        page: dict[str, Any] = json.loads(path.read_text())
        render_index([page], "")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, TemplateError):
        return {}
    return page
