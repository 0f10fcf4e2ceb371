from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.tracking.reader import TrackedRun
from sweeps.config.study import compose_study
from sweeps.reports.figures import draw_axis
from sweeps.reports.results_csv import write_csv
from sweeps.reports.tables import confirmation_metrics, mean_and_deviation, results_table
from sweeps.reports.terminal import show_table
from sweeps.results import StudyTrial, TrialResult
from tests.helpers.evidence import at

PUBLISHED = {"N22": {"test/accuracy": 0.90, "train/accuracy": 0.93}, "N21": {"test/accuracy": 0.91, "test/loss": 0.3}}


def result(label: str, accuracies: list[float], published: dict[str, dict[str, float]]) -> TrialResult:
    common = {"parameters": 1234.0, "seconds_per_epoch": 2.0, "train/accuracy": 0.95, "test/loss": 0.25}
    runs = [TrackedRun(f"id{n}", "FINISHED", common | {"test/accuracy": a}) for n, a in enumerate(accuracies)]
    return TrialResult(label, label, list(range(len(runs))), runs, published)


RESULTS = [result("one", [0.88, 0.90, 0.92], PUBLISHED), result("two", [0.91], {}), result("none", [], PUBLISHED)]
TEXTS = ["1,234", "0.9000 ± 0.0200", "n=3", "n=1", "published (N22)", "published (N21)", "+0.0200", "-0.0500"]


def test_mean_and_sample_deviation() -> None:
    assert mean_and_deviation([0.88, 0.90, 0.92]) == "0.9000 ± 0.0200"
    assert mean_and_deviation([0.91]) == "0.9100"
    assert mean_and_deviation([]) == "-"
    assert mean_and_deviation([1.5, 2.5]) == "2.0000 ± 0.7071"
    assert mean_and_deviation([1.5, 2.5], 2) == "2.00 ± 0.71"


def test_counts_have_one_decimal_and_none_where_all_seeds_share_them() -> None:
    epochs = {"stops": [5.0, 7.0, 8.0], "runs through": [20.0, 20.0]}
    results = [
        TrialResult(
            label,
            label,
            [*range(len(each))],
            [TrackedRun("id", "FINISHED", {"epochs": e, "parameters": 9.0}) for e in each],
        )
        for label, each in epochs.items()
    ]
    cells = [row.cells[-1] for row in results_table(results, at(3)).rows]
    assert [(cell.text, cell.beneath) for cell in cells] == [("6.7 ± 1.5", "[2.9, 10.5]"), ("20", "")]


def printed(width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    show_table(results_table(RESULTS, at(3), differences=True), console)
    return console.export_text()


def test_the_terminal_shows_measured_published_and_difference() -> None:
    text = printed(160)
    assert text.count("config") == 1
    assert [part for part in TEXTS if part not in text] == []


def test_a_narrow_terminal_gets_several_tables() -> None:
    text = printed(60)
    assert text.count("config") > 1
    assert [part for part in TEXTS if part not in text] == []
    assert max(map(len, text.splitlines())) <= 60


def test_the_best_row_is_bold() -> None:
    console = Console(width=160, record=True, file=io.StringIO(), color_system="standard", force_terminal=True)
    show_table(results_table(RESULTS, at(3), best=RESULTS[1]), console)
    bold = [line for line in console.export_text(styles=True).splitlines() if "\x1b[1m" in line]
    assert [line for line in bold if "┃" not in line and "two" not in line] == []
    assert any("two" in line for line in bold)


def test_the_first_source_counts_in_the_table() -> None:
    assert RESULTS[0].published_value("test/accuracy") == (0.90, "N22")
    assert RESULTS[0].published_value("test/loss") == (0.3, "N21")
    assert RESULTS[1].published_value("test/loss") is None


def test_csv_has_one_line_per_run(tmp_path: Path) -> None:
    write_csv(RESULTS, tmp_path / "results.csv")
    lines = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [(line["trial"], line["seed"]) for line in lines] == [("one", "0"), ("one", "1"), ("one", "2"), ("two", "0")]
    assert (lines[1]["test/accuracy"], lines[1]["published/test/accuracy"], lines[1]["run_id"]) == ("0.9", "0.9", "id1")
    assert lines[3]["published/test/accuracy"] == ""


def test_accuracy_by_class_is_in_the_csv_and_not_in_the_table(tmp_path: Path) -> None:
    measured = {"test/accuracy": 0.9, "parameters": 9.0}
    runs = [TrackedRun(f"id{n}", "FINISHED", measured | {"test/accuracy/cat": 0.8}) for n in range(2)]
    before = TrackedRun("id2", "FINISHED", measured)
    results = [TrialResult("one", "one", [0, 1, 2], [*runs, before])]
    write_csv(results, tmp_path / "results.csv")
    lines = csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
    assert [line["test/accuracy/cat"] for line in lines] == ["0.8", "0.8", ""]
    assert not [column for column in results_table(results, at(3)).columns if "cat" in column]


def test_a_confirmation_is_of_the_metrics_that_all_runs_have() -> None:
    sweep = compose_study("smoke", [])
    measured = {"val/accuracy": 0.8, "val/loss": 0.5, "test/accuracy": 0.7}
    runs = [TrackedRun("id0", "FINISHED", measured | {"test/accuracy/3": 0.6}), TrackedRun("id1", "FINISHED", measured)]
    best = StudyTrial(0, "COMPLETE", [0.9], {}, {}, [], [])
    wanted = {f"confirm/{name}": value for name, value in measured.items()} | {"selection_bias": 0.1}
    assert confirmation_metrics(best, runs, sweep) == pytest.approx(wanted)


def test_figure_is_drawn(tmp_path: Path) -> None:
    draw_axis(RESULTS, "accuracy", "filters", "title", 0.95, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
