"""A report on paper, in a real browser: no column of a table is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tracking.reader import TrackedRun
from sweeps.config.ablation import compose_ablation
from sweeps.reports.page import Page, write_page
from sweeps.reports.tables import METRICS, Table, results_table
from sweeps.results import TrialResult
from tests.conftest import need
from tests.sweeps.cli.test_ui import CHROMIUM, FLAGS

PRINTED = {"width": 703, "height": 1032}  # CSS pixels of A4 without its margins of 12 mm

WIDEST = METRICS[: METRICS.index("gap/accuracy") + 1]


def table() -> Table:
    """A results table with every metric that a classifier can have, as wide as it gets."""
    runs = [
        TrackedRun(f"id{n}", "FINISHED", dict.fromkeys(WIDEST, 0.1234 + n) | {"parameters": 1e7, "epochs": 5.0 + n})
        for n in range(3)
    ]
    published = {"N22": dict.fromkeys(WIDEST, 0.9876)}
    labels = ("dense_512_256_128", "conv_32_unpooled")
    results = [TrialResult(label, label, [0, 1, 2], runs, published) for label in labels]
    return results_table(results, compose_ablation("line", []).statistics)


@pytest.mark.slow
def test_every_column_of_the_results_is_on_the_paper(tmp_path: Path) -> None:
    need(CHROMIUM is not None, "there is no Chromium here")
    from playwright.sync_api import sync_playwright

    results = table()
    write_page(Page("wide", "a wide table", tables=[results]), tmp_path)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=PRINTED)
        page.emulate_media(media="print")
        page.goto((tmp_path / "report.html").as_uri())
        headers = page.locator("th").all()
        ends = {th.inner_text(): (box["x"] + box["width"]) for th in headers if (box := th.bounding_box())}
        clips = page.eval_on_selector(".wide", "e => getComputedStyle(e).overflowX")
        widest = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert list(ends) == results.columns
    assert max(ends.values()) <= PRINTED["width"]
    assert (clips, widest) == ("visible", PRINTED["width"])
