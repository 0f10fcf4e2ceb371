"""Take the documentation's pictures of pages, of a sweep in the store: its report, and its saved view in MLflow.

convsweep ablate demo
python docs/scripts/pictures.py [SWEEP] writes docs/images/report.png and mlflow.png; needs Chromium or Chrome.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
COMMAND = [sys.executable, "-m", "sweeps.cli.main"]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE = {"width": 1280, "height": 960}


@contextmanager
def served(sweep: str) -> Iterator[str]:
    """Serve MLflow's pages for the while; give the address of the sweep's view."""
    command = [*COMMAND, "ui", sweep, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield next(match[0] for line in server.stdout if (match := re.search(r"http://\S+/#/\S+", line)))
        finally:
            server.send_signal(signal.SIGINT)


def take(page: Page, name: str) -> None:
    """Save what the page shows as docs/images/NAME.png, in as few colors as it needs."""
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
    print(f"written: {path.relative_to(ROOT)}, {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    sweep = sys.argv[1] if sys.argv[1:] else "demo"
    with sync_playwright() as playwright, served(sweep) as view:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        page.goto((Path("mlruns") / "reports" / sweep / "report.html").resolve().as_uri())
        take(page, "report")
        page.goto(view)
        page.locator("svg.main-svg").first.wait_for(timeout=60_000)
        page.wait_for_timeout(5_000)
        take(page, "mlflow")
        browser.close()
