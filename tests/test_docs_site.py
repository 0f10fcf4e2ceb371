"""The documentation's site: `make docs` builds it, and it works from a folder without asking any other host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.groups import CONF
from tests.conftest import made_once, need

ROOT = CONF.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LOADED = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\">\s]+)")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built; links that lead nowhere are errors."""

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
        environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "site", build)


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 50
    assert {address for page in pages for address in LOADED.findall(page.read_text())} == set()
    styles = [*site.rglob("*.css"), *site.rglob("*.svg")]
    assert not [path for path in styles if re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", path.read_text())]


@pytest.mark.slow
def test_what_lies_beside_docs_has_pages(site: Path) -> None:
    for name in ("index", "ko", "source/conf/sweep.yaml", "source/examples/ci/claims.yml", "source/CHANGELOG"):
        assert (site / f"{name}.html").exists()
    assert "data:image/png" in (site / "source" / "notebooks" / "filter_count.ipynb.html").read_text()


@pytest.mark.slow
def test_a_browser_searches_it_without_a_network(site: Path) -> None:
    need(CHROMIUM is not None, "no browser")
    from playwright.sync_api import sync_playwright

    asked = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{(site / 'index.html').as_uri()}?q=equal_within")
        found = page.locator(".md-search-result__item").first
        found.wait_for(state="attached")
        assert "equal_within" in (found.text_content() or "")
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
