"""What a page says beside the numbers: the authors' findings where they fit, oddities, any name as it is."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.types import typed
from pipeline.tracking.reader import TrackedRun
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, Question
from sweeps.config.ablation import AblationConfig, DiscussionConfig, RemarkConfig, compose_ablation
from sweeps.reports.findings import AblationFindings
from sweeps.reports.findings import discussion as discussion_of
from sweeps.reports.index import render_index
from sweeps.reports.page import Page, markdown_code, markdown_escaped, write_page
from sweeps.reports.results_csv import write_csv
from sweeps.reports.tables import Table, results_table
from sweeps.results import TrialResult

FOUND = DiscussionConfig("More is better.", "2026-11-22", {"more": REPRODUCED})
ODD = RemarkConfig("The code is another network's.", "N22", "conv")
TITLE = "What the authors found (2026-11-22)"


def finding(name: str, verdict: str) -> Finding:
    return Finding(Question(name, f"{name} is better", "greater", "", [], []), verdict, "It is.")


def row(seeds: Sequence[int], label: str = "conv") -> TrialResult:
    metrics = {"test/loss": 0.02, "test/accuracy": 0.99, "parameters": 9.0}
    runs = [TrackedRun(f"id{n}", "FINISHED", metrics) for n in seeds]
    return TrialResult(label, label, list(seeds), runs, {"L13": {"test/accuracy": 0.98}})


def written(folder: Path, **fields: Any) -> list[str]:
    """report.html and report.md of a page."""
    write_page(
        Page("ablation", "name", "what", "Is it?", "It is.", findings=[finding("more", REPRODUCED)], **fields), folder
    )
    return [(folder / f"report.{kind}").read_text() for kind in ("html", "md")]


def test_what_the_authors_found_stands_below_the_claims(tmp_path: Path) -> None:
    for text in written(tmp_path, discussion=FOUND):
        assert text.index("more is better") < text.index(TITLE) < text.index("More is better.")
    for text in written(tmp_path, note="Another experiment."):
        assert "authors" not in text
        assert "Another experiment." in text


@pytest.mark.parametrize("verdict", [REPRODUCED, INCONCLUSIVE, CONTRADICTED])
def test_it_is_left_out_where_verdicts_differ(verdict: str) -> None:
    ablation = compose_ablation("line", [])
    discussion = ablation.config.discussion
    assert discussion is not None
    findings = AblationFindings([finding(name, verdict) for name in discussion.verdicts], [])
    assert discussion_of(ablation, findings) is (discussion if verdict == REPRODUCED else None)
    assert discussion_of(ablation, AblationFindings([], [])) is None


def test_the_index_has_it_too() -> None:
    page = {"kind": "ablation", "name": "a", "description": "b", "title": "Is it?", "headline": "It is."}
    page |= {"discussion": None, "remarks": [], "findings": [], "numbers": [], "changed": [], "method": "", "made": ""}
    discussion = {"text": "More is better.", "date": "2026-11-22", "seeds": [0, 1, 2, 3, 4]}
    remark = {"says": "Odd.", "source": "N22", "trial": None}
    rendered = render_index([page | {"discussion": discussion, "remarks": [remark]}, page], "today")
    for text in rendered.values():
        assert text.count(TITLE) == 1
        assert text.count("It is.") == 2
    assert "- N22: Odd." in rendered["results.md"]


def test_what_is_odd_in_a_document_is_told_beside_its_numbers(tmp_path: Path) -> None:
    settings = compose_ablation("line", []).statistics
    last = RemarkConfig("It contradicts the line above.", "L13", "conv", {"test/loss": 0.0128, "test/accuracy": 0.9932})
    remarks = [ODD, RemarkConfig("Bullets differ.", "L13", "conv"), last]
    table = results_table([row([0, 1, 2]), row([0], "dense")], settings, [], remarks)
    lines = {row.cells[0].text: [cell.text for cell in row.cells[3:]] for row in table.rows}
    assert lines["published (L13) [2]"] == ["", "0.9800"]
    assert lines["not judged (L13) [3]"] == ["0.0128", "0.9932"]
    assert len(table.rows) == 5
    tables = [Table("Effects", [], []), table, Table("Runs", [], [])]  # as of a grid
    html, markdown = written(tmp_path, tables=tables, remarks=remarks)
    assert "<li>N22, conv: The code is another network&#39;s.</li>" in html
    assert "3. L13, conv: It contradicts the line above." in markdown
    for text in (html, markdown):
        assert text.count("About the documents") == 1
        assert text.index("Results") < text.index("About the documents") < text.index("Runs")


def test_a_remark_names_a_trial_and_metrics_that_there_are() -> None:
    line = compose_ablation("line", []).config

    def config(remark: RemarkConfig) -> AblationConfig:
        return AblationConfig("a", "b", "c", line.claims, line.trials, remarks=[remark])

    assert config(RemarkConfig("says", "N21")).remarks
    for wrong in (
        RemarkConfig("says", "N21", "nil"),
        RemarkConfig("says", "N21", None, {"prediction": 1.0}),
        RemarkConfig("says", "N21", "line", {"predicted": 1.0}),
    ):
        with pytest.raises(ConfigError):
            config(wrong)
    with pytest.raises(ConfigError, match=r"discussion\.verdicts\.it=MAYBE"):
        typed(DiscussionConfig, {"text": "", "date": "", "verdicts": {"it": "MAYBE"}}, "discussion")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("train/loss of conv_32 is [0.1, 0.2], +0.5", "train/loss of conv_32 is [0.1, 0.2], +0.5"),
        ("_a_ *b* `c` | <script>", r"\_a\_ \*b\* \`c\` \| \<script>"),
        ("[here](http://x)", r"[here\](http://x)"),
        ("&lt; & co", r"\&lt; & co"),
        ("# head\nand more", r"\# head and more"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, escaped: str) -> None:
    assert markdown_escaped(text) == escaped


def test_code_in_markdown_may_hold_backticks() -> None:
    assert markdown_code("convsweep list") == "`convsweep list`"
    assert markdown_code("a `b`") == "`` a `b` ``"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\tx"])
def test_no_cell_of_results_csv_is_a_formula(name: str, tmp_path: Path) -> None:
    write_csv([row([0], name)], tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["trial"] == f"'{name}"
    assert line["test/loss"] == "0.02"
