"""MLflow's pages as `convsweep ui` serves them: to whom, from what, and what someone sees in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs

import psutil
import pytest

from pipeline.config.checks import ConfigError
from pipeline.tracking.server import SETTINGS
from pipeline.tracking.views import SHARED, VIEW, View, save_views
from sweeps.cli.local_server import listen
from sweeps.cli.main import main
from sweeps.cli.ui import first_page
from tests.conftest import need
from tests.pipeline.tracking.test_tracker import tracker

pytestmark = pytest.mark.usefixtures("worker_threads")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass
class Served:
    """A `convsweep ui` that runs: its process, what it said before the address, the address, and its port."""

    process: subprocess.Popen[str]
    said: list[str]
    link: str
    port: int

    def status(self, method: str, path: str, **headers: str) -> int:
        """HTTP status of a request."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body="{}" if method == "POST" else None, headers=headers)
            return connection.getresponse().status

    def interrupt(self) -> float:
        """Seconds that it takes to end at Ctrl-C, as well as it should."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=30) == 0
        return time.monotonic() - start


@contextmanager
def served(*words: str) -> Iterator[Served]:
    """Run `convsweep ui` whose errors nobody reads."""
    command = [sys.executable, "-m", "sweeps.cli.main", "ui", *words, "--no-browser"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline().strip()]
            while said[-1] and "http://" not in said[-1]:
                said.append(process.stdout.readline().strip())
            link = said[-1].rpartition(" ")[2]
            yield Served(process, said[:-1], link, int(re.findall(r":(\d+)/", link)[0]))
        finally:
            process.kill()


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    with closing(listen(20_000)) as listening:
        return int(listening.getsockname()[1])


def test_a_taken_port_gives_way_to_the_next() -> None:
    with closing(listen(20_100)) as other:
        port = other.getsockname()[1]
        with closing(listen(port)) as listening:
            host, next_port = listening.getsockname()
            assert host == "127.0.0.1"
            assert port < next_port < port + 100


def test_ports_that_are_all_taken_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.cli.local_server.PORTS", 1)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"choose another with store"):
            listen(taken.getsockname()[1])


def test_a_sweep_is_opened_at_its_view(root: Path) -> None:
    store = tracker(root)
    demo = store.experiment("demo")
    store.client.set_experiment_tag(demo, VIEW, "older")
    store.client.set_experiment_tag(demo, f"{SHARED}older", "{}")
    assert "viewStateShareKey=older" in first_page(store, "demo")
    views = [View(name, "test/loss", True, ["metrics.test/loss"], []) for name in ("curves", "cost")]
    key = parse_qs(save_views(store, "demo", "parent", views))["viewStateShareKey"][0]
    tags = {tag for tag in store.client.get_experiment(demo).tags if "older" in tag or tag == VIEW}
    assert (key, tags) == ("curves", set())
    store.client.delete_experiment(store.experiment("gone"))
    assert first_page(store, None) == "/#/experiments"
    assert re.match(rf"/#/experiments/{demo}/runs\?.*viewStateShareKey={key}", first_page(store, "demo"))
    with pytest.raises(ConfigError, match=r"no sweep dem \(did you mean demo\?\). There are: demo$"):
        first_page(store, "dem")
    with pytest.raises(ConfigError, match="the sweep gone was deleted in MLflow's pages"):
        first_page(store, "gone")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "there is nothing in"), (b"no database at all", "cannot be opened"), (None, "another application's")],
)
def test_a_store_that_is_none_is_refused_at_once(
    content: bytes | None, message: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.tracking.server.mlflow_app", pytest.fail)  # MLflow would make its tables there
    database = root / "mlflow.db"
    database.unlink()
    if content is None:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE things (another INTEGER)")
    else:
        database.write_bytes(content)
    before = database.read_bytes()
    assert main(["ui", "--no-browser"]) == 2
    assert message in capsys.readouterr().err
    assert database.read_bytes() == before


def test_a_server_has_its_pages_itself(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--no-browser", "store.tracking_uri=http://me:secret@localhost:1/mlflow/"]) == 0
    assert capsys.readouterr().out == "MLflow's pages: http://localhost:1/mlflow/#/experiments\n"


@pytest.mark.slow
def test_serves_only_this_machine_and_ends_at_ctrl_c(root: Path, free_port: int) -> None:
    with closing(listen(free_port)), served(f"store.ui_port={free_port}") as ui:
        assert ui.said[:2] == [f"port {free_port} is taken; {ui.port} is free", "starting MLflow's pages ..."]
        process = psutil.Process(ui.process.pid)
        assert process.children(recursive=True) == []
        assert {each.laddr.ip for each in process.net_connections() if each.status == "LISTEN"} == {"127.0.0.1"}
        search = "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0"
        assert {ui.status("GET", search, Host="evil.example") for _ in range(1000)} == {403}
        create = "/ajax-api/2.0/mlflow/experiments/create"
        assert ui.status("POST", create, Origin="http://evil.example") == 403
        assert ui.status("GET", search) == 200
        assert process.memory_info().rss < 300 * 2**20
        with closing(sqlite3.connect(root / "mlflow.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            waiting = threading.Thread(target=suppressed, args=(ui, search))
            waiting.start()
            time.sleep(1)
            assert waiting.is_alive()
            assert ui.interrupt() < 10
            waiting.join()


def suppressed(ui: Served, path: str) -> None:
    """Ask for a page that is never answered."""
    with suppress(OSError):
        ui.status("GET", path)


@pytest.mark.slow
def test_a_kill_leaves_nothing_behind(root: Path, free_port: int) -> None:
    with served(f"store.ui_port={free_port}") as ui:
        assert ui.status("GET", "/health") == 200
        ui.process.kill()
        ui.process.wait()
        time.sleep(1)
        with closing(listen(free_port)) as again:
            assert again.getsockname()[1] == free_port


@pytest.mark.slow
def test_the_printed_link_shows_groups_numbers_and_charts(
    root: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    need(CHROMIUM is not None, "there is no Chromium here")
    port = f"store.ui_port={free_port}"
    assert main(["ablate", "demo", "trainer.epochs=2", "seeds=[0,1]", "store.log_model=none", port]) == 0
    link = re.findall(r"http://127\.0\.0\.1\S+", capsys.readouterr().out)[-1]
    with served("demo", port) as ui:
        assert ui.link == link
        charts, table, settings = seen(link)
        assert ui.interrupt() < 10
    assert links_alone_and_framed(root / "reports" / "demo" / "report.html") == (8, 0)
    for trial in ("conv_16", "conv_32", "conv_64", "dense_128"):
        assert f"Group: {trial}" in charts
        assert f"{trial} (test/accuracy)" in charts
    for metric in ("test/accuracy", "train/loss", "gap/accuracy", "seconds_per_epoch"):
        assert metric in charts
    for words in ("claims: ", "report · curves · ranking · cost", "Overfitting and cost (5)", "test/accuracy (10)"):
        assert words in " ".join(charts.split())
    assert "Additional runs" not in charts  # the parent among those that it is the parent of
    assert len(re.findall(r"\d\.\d{4,}", table)) >= 4 * 5
    assert SETTINGS.items() <= settings.items()
    assert "Ask questions about" not in charts  # of the assistant's panel


@pytest.mark.slow
def test_optuna_dashboard_shows_the_study_to_its_own_pages_alone(
    root: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    need(CHROMIUM is not None, "there is no Chromium here")
    assert main(["ui", "--optuna", "--no-browser"]) == 2
    assert "there is no study in" in capsys.readouterr().err
    assert (
        main(["study", "smoke", "study.n_trials=3", "study.finalists=1", "trainer.epochs=1", "store.log_model=none"])
        == 0
    )
    assert main(["ui", "--optuna", "smok", "--no-browser"]) == 2
    assert "no study smok (did you mean smoke?). There are: smoke" in capsys.readouterr().err
    with served("--optuna", "smoke", f"store.ui_port={free_port}") as ui:
        assert ui.link == f"http://127.0.0.1:{ui.port}/dashboard/studies/1"
        assert {each.laddr.ip for each in psutil.Process(ui.process.pid).net_connections()} == {"127.0.0.1"}
        assert ui.status("GET", "/dashboard") == 200
        assert ui.status("GET", "/dashboard", Host="evil.example") == 403
        assert ui.status("DELETE", "/api/studies/1", Origin="http://evil.example") == 403
        page = text_of(ui.link, "Params = ")
        trial = text_of(f"{ui.link}/trials", "Runs in MLflow's pages")
        assert ui.interrupt() < 10
    for words in ("smoke (id=1)", "Hyperparameter Importance", "model.filters", "val/accuracy"):
        assert words in page
    assert "seed 0" in trial


def text_of(link: str, awaited: str) -> str:
    """Text of the page that `link` opens, once it has the awaited words."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(link)
        page.get_by_text(awaited).first.wait_for(timeout=60_000)
        text = page.inner_text("body")
        browser.close()
    return text


def test_without_optuna_dashboard_its_extra_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["ui", "--optuna", "--no-browser"]) == 2
    assert "in convsweep's checkout, pip install '.[dashboard]'" in capsys.readouterr().err


def seen(link: str) -> tuple[str, str, dict[str, str]]:
    """Text of the page that `link` opens, of the same view as a table, and what the browser stores."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1800, "height": 6000})
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
        assert not page.locator("button[data-assistant-ui]").is_visible()
        settings = json.loads(page.evaluate("JSON.stringify(localStorage)"))
        browser.close()
    return charts, table, settings


def links_alone_and_framed(report: Path) -> tuple[int, int]:
    """How many links a report's tables have by themselves, and in a frame as MLflow previews it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(report.as_uri())
        alone = page.locator("td a").count()
        page.goto("about:blank")
        page.evaluate(
            """text => {
                const frame = Object.assign(document.createElement("iframe"), {srcdoc: text});
                frame.sandbox = "allow-scripts";
                document.body.append(frame);
            }""",
            report.read_text(),
        )
        frame = page.frame_locator("iframe")
        frame.get_by_text("How it was made").wait_for()
        framed = frame.locator("td a").count()
        browser.close()
    return alone, framed
