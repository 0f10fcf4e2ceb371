"""MLflow's real page in a real browser: what someone sees who follows the link that a sweep prints."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.cli import main
from tests.conftest import need

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.mark.slow
def test_the_printed_link_shows_groups_numbers_and_charts(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need(CHROMIUM is not None, "there is no Chromium here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = f"store.ui_port={free.getsockname()[1]}"
    assert main(["ablate", "demo", "trainer.epochs=2", "seeds=[0,1]", "store.log_model=none", port]) == 0
    link = re.findall(r"http://127\.0\.0\.1\S+", capsys.readouterr().out)[-1]
    command = [sys.executable, "-m", "sweeps.cli", "ui", "demo", port, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().strip() == f"MLflow's pages: {link}"
            charts, table = seen(link)
        finally:
            server.terminate()
            assert server.wait(timeout=30) == 0
    for filters in ("16", "32", "64"):
        assert f"model.filters: {filters}" in charts
        assert f"filters={filters} seed=1" in charts
    assert "model.name: dense" in charts
    for metric in ("test/accuracy", "train/loss", "gap/accuracy", "seconds_per_epoch"):
        assert metric in charts
    assert len(re.findall(r"0\.\d{4,}", table)) >= 12 * 3


def seen(link: str) -> tuple[str, str]:
    """Text of the page that `link` opens, and of the same view as a table."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1800, "height": 3600})
        page.goto(link)
        page.get_by_text("test/accuracy").first.wait_for(timeout=60_000)
        page.locator("svg.main-svg").first.wait_for(timeout=60_000)
        page.wait_for_timeout(3000)
        charts = page.inner_text("body")
        page.goto("about:blank")
        page.goto(link.replace("&compareRunsMode=CHART", ""))
        page.get_by_text("gap/accuracy").first.wait_for(timeout=60_000)
        page.wait_for_timeout(2000)
        table = page.inner_text("body")
        browser.close()
    return charts, table
