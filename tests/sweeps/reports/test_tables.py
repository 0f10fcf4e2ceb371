from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.console import Console

from pipeline.tracking.tracker import TrackedRun
from sweeps.reports.figures import draw_axis
from sweeps.reports.tables import mean_and_deviation, tables, write_csv
from sweeps.results import Row

PUBLISHED = {"N22": {"test/accuracy": 0.90, "train/accuracy": 0.93}, "N21": {"test/accuracy": 0.91, "test/loss": 0.3}}


def row(label: str, accuracies: list[float], published: dict[str, dict[str, float]]) -> Row:
    common = {"parameters": 1234.0, "seconds_per_epoch": 2.0, "train/accuracy": 0.95, "test/loss": 0.25}
    runs = [TrackedRun(f"id{n}", "FINISHED", common | {"test/accuracy": a}) for n, a in enumerate(accuracies)]
    return Row(label, label, list(range(len(runs))), runs, published)


ROWS = [row("one", [0.88, 0.90, 0.92], PUBLISHED), row("two", [0.91], {}), row("none", [], PUBLISHED)]


def test_mean_and_sample_deviation() -> None:
    assert mean_and_deviation([0.88, 0.90, 0.92]) == ".9000 ± .0200"
    assert mean_and_deviation([0.91]) == ".9100"
    assert mean_and_deviation([]) == "-"
    assert mean_and_deviation([1.5, 2.5], 2) == "2.00 ± .71"


def test_table_has_measured_published_and_difference() -> None:
    told = printed(140)
    assert len(tables("title", ROWS, 140)) == 1
    for part in (
        "1,234",
        ".9000 ± .0200",
        "measured (n=3)",
        "measured (n=1)",
        "published (N22",
        ".9000",
        "+.0000",
        "+.0200",
        "-.0500",
    ):
        assert part in told


def printed(width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in tables("title", ROWS, width):
        console.print(part)
    return console.export_text()


def test_a_narrow_terminal_gets_narrow_tables() -> None:
    told = printed(80)
    for part in (
        "one",
        "measured (n=3)",
        "published (N22",
        ".9000 ± .0200",
        "train accuracy",
        "test accuracy",
        "+.0200",
    ):
        assert part in told
    assert max(map(len, told.splitlines())) <= 80


def test_the_first_source_counts_in_the_table() -> None:
    assert ROWS[0].published_value("test/accuracy") == (0.90, "N22")
    assert ROWS[0].published_value("test/loss") == (0.3, "N21")
    assert ROWS[1].published_value("test/loss") is None


def test_csv_has_one_line_per_run(tmp_path: Path) -> None:
    write_csv(ROWS, tmp_path / "results.csv")
    lines = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [(line["trial"], line["seed"]) for line in lines] == [("one", "0"), ("one", "1"), ("one", "2"), ("two", "0")]
    assert (lines[1]["test/accuracy"], lines[1]["published/test/accuracy"], lines[1]["run_id"]) == ("0.9", "0.9", "id1")
    assert lines[3]["published/test/accuracy"] == ""


def test_figure_is_drawn(tmp_path: Path) -> None:
    draw_axis(ROWS, "accuracy", "filters", "title", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
