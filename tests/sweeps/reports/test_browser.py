"""A report in a real browser: its first screen, by mouse and keyboard, on a phone, on paper, and for every eye."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.tracking.reader import TrackedRun
from sweeps.config.ablation import compose_ablation
from sweeps.reports.page import Page, write_page
from sweeps.reports.tables import METRICS, Table, results_table
from sweeps.results import TrialResult
from tests.conftest import need
from tests.helpers.pages import page as page_of_all_verdicts
from tests.sweeps.cli.test_ui import CHROMIUM, FLAGS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

SCREEN = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PRINTED = {"width": 703, "height": 1032}  # CSS pixels of A4 without its margins of 12 mm
WIDEST = METRICS[: METRICS.index("gap/accuracy") + 1]

# The contrast of every text with what lies behind it, by WCAG 2, where it is below 4.5.
FAINT_TEXTS = """() => {
  const rgb = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [.2126, .7152, .0722][place], 0);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (!(rgb(color)[3] === 0)) return rgb(color);
    }
    return [255, 255, 255];
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || parent.closest("script, style")) continue;
    const style = getComputedStyle(parent);
    const ink = parent instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [luminance(rgb(ink)), luminance(behind(parent))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) faint.push([texts.currentNode.textContent.trim(), (a + .05) / (b + .05)]);
  }
  return faint;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need(CHROMIUM is not None, "there is no Chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    write_page(page_of_all_verdicts(), folder)
    return (folder / "report.html").as_uri()


def wide_table() -> Table:
    """A results table with every metric that a classifier can have, as wide as it gets."""
    runs = [
        TrackedRun(f"id{n}", "FINISHED", dict.fromkeys(WIDEST, 0.1234 + n) | {"parameters": 1e7, "epochs": 5.0 + n})
        for n in range(3)
    ]
    published = {"N22": dict.fromkeys(WIDEST, 0.9876)}
    labels = ("dense_512_256_128", "conv_32_unpooled")
    results = [TrialResult(label, label, [0, 1, 2], runs, published) for label in labels]
    return results_table(results, compose_ablation("line", []).statistics)


@pytest.fixture(scope="module")
def long_report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page as long and wide as that of a large grid."""
    configs = product((16, 32, 64), (1, 2), (0.0, 0.3, 0.5))
    labels = [f"filters={a} conv_layers={b} dropout={c} epochs=20" for a, b, c in configs]
    folder = tmp_path_factory.mktemp("long_report")
    write_page(page_of_all_verdicts(*labels), folder)
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("name", ["report", "long_report"])
def test_the_first_screen_has_question_answer_counts_and_chart(
    browser: Browser, name: str, request: pytest.FixtureRequest
) -> None:
    page = browser.new_page(viewport=SCREEN)
    page.goto(request.getfixturevalue(name))
    for part in ("h1", ".answer", ".counts", ".chart"):
        box = page.locator(part).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= SCREEN["height"], part
    assert page.inner_text("h1") == "Do more filters help?"
    assert "Of 9 claims" in page.inner_text(".answer")
    assert page.locator("details.part[open]").count() == 1, "the published numbers, of which one is contradicted"


def test_values_are_shown_to_mouse_and_keyboard(browser: Browser, report: str) -> None:
    page = browser.new_page(viewport=SCREEN)
    page.goto(report)
    row = page.locator(".chart tbody tr").nth(4)
    assert not row.locator(".tip").is_visible()
    row.hover()
    assert row.locator(".tip").is_visible()
    page.mouse.move(0, 0)
    page.locator(".chart tbody tr").nth(3).focus()
    page.keyboard.press("Tab")
    assert row.locator(".tip").is_visible()
    assert "published 0.9044 (N22)" in row.locator(".tip").inner_text()
    page.get_by_role("checkbox", name="training accuracy").uncheck()
    assert not row.locator("g.train").is_visible()
    assert row.locator("g.test").is_visible()


def test_a_claim_unfolds_its_statistics(browser: Browser, report: str) -> None:
    page = browser.new_page(viewport=SCREEN)
    page.goto(report)
    first = page.locator(".finding").first
    assert not first.locator("p").is_visible()
    first.locator("summary").click()
    assert "after correction for 9 claims" in first.locator("p").inner_text()
    verdicts = page.locator("section h3 .verdict").all_inner_texts()
    assert [text.split()[-1] for text in verdicts] == ["CONTRADICTED", "INCONCLUSIVE", "REPRODUCED"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out(browser: Browser, report: str, scheme: Any) -> None:
    page = browser.new_page(viewport=SCREEN, color_scheme=scheme)
    page.goto(report)
    assert page.evaluate(FAINT_TEXTS) == []


def test_a_screen_reader_is_told_everything(browser: Browser, report: str) -> None:
    page = browser.new_page()
    page.goto(report)
    assert page.locator("svg:not([aria-hidden]):not([role=img][aria-label])").count() == 0
    assert page.locator("img:not([alt])").count() == page.locator("th:not([scope])").count() == 0
    row = page.get_by_role("row", name="conv_64").first
    assert row.get_by_role("img").get_attribute("aria-label") == row.locator(".tip").inner_text()
    assert page.get_by_role("heading", level=1).count() == 1


@pytest.mark.parametrize("name", ["report", "long_report"])
def test_a_phone_is_wide_enough(browser: Browser, name: str, request: pytest.FixtureRequest) -> None:
    page = browser.new_page(viewport=PHONE)
    page.goto(request.getfixturevalue(name))
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_a_phone_shows_the_best_config_in_words(browser: Browser, tmp_path: Path) -> None:
    card = [("train it again; best.yaml lies beside this page", "convsweep train --from best.yaml")]
    write_page(Page("study", "smoke", "a search", "Which?", "This.", card=card), tmp_path)
    page = browser.new_page(viewport=PHONE)
    page.goto((tmp_path / "report.html").as_uri())
    box = page.locator(".facts td").bounding_box()
    assert box is not None
    assert box["width"] > PHONE["width"] / 2


def test_every_column_of_the_results_is_on_the_paper(browser: Browser, tmp_path: Path) -> None:
    results = wide_table()
    write_page(Page("grid", "wide", "a wide table", "Is it?", "It is.", tables=[results]), tmp_path)
    page = browser.new_page(viewport=PRINTED)
    page.emulate_media(media="print")
    page.goto((tmp_path / "report.html").as_uri())
    headers = page.locator("thead th").all()
    ends = {th.inner_text(): (box["x"] + box["width"]) for th in headers if (box := th.bounding_box())}
    assert list(ends) == results.columns, "the table is unfolded"
    assert max(ends.values()) <= PRINTED["width"]
    assert page.eval_on_selector(".wide", "e => getComputedStyle(e).overflowX") == "visible"
    assert page.evaluate("document.documentElement.scrollWidth") == PRINTED["width"]
