"""Tables and verdicts of a sweep in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import rich.table
from rich.console import Console
from rich.text import Text

from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, count_verdicts
from sweeps.reports.findings import AblationFindings
from sweeps.reports.tables import Table

STYLES = {REPRODUCED: "green", CONTRADICTED: "red", INCONCLUSIVE: "yellow"}
BORDER = 3  # columns of the terminal that a column of a table takes beside its text


def show_table(table: Table, console: Console) -> None:
    """Print a table; as several, each with the first column, if the terminal is too narrow for one."""
    console.print(table.title, style="italic")
    has_sections = any(row.faint for row in table.rows)
    for columns in _groups(table, console.width - 1):
        shown = rich.table.Table()
        for place in columns:
            shown.add_column(table.columns[place], justify="right" if place else "left", no_wrap=True)
        for row in table.rows:
            texts = [row.cells[place].text for place in columns]
            if has_sections and not row.faint:
                shown.add_section()
            if any(texts[1:]) or not row.faint:
                shown.add_row(*texts, style="dim" if row.faint else "bold" if row.best else None)
        console.print(shown)
    if table.caption:
        console.print(table.caption, style="dim italic", highlight=False)


def _groups(table: Table, width: int) -> Iterator[list[int]]:
    """Yield the columns of each table that fits into `width`."""
    texts = [[name, *(row.cells[place].text for row in table.rows)] for place, name in enumerate(table.columns)]
    widths = [max(map(len, column)) + BORDER for column in texts]
    columns = [0]
    for place in range(1, len(widths)):
        if len(columns) > 1 and sum(widths[column] for column in [*columns, place]) > width:
            yield columns
            columns = [0]
        columns.append(place)
    yield columns


def show_findings(findings: AblationFindings, console: Console) -> None:
    """Print the findings about claims, and those about published numbers that are not reproduced."""
    if findings.claims:
        _show_findings("claims", findings.claims, findings.claims, console)
    if findings.published:
        others = [finding for finding in findings.published if finding.verdict != REPRODUCED]
        _show_findings("published numbers", findings.published, others, console)


def _show_findings(title: str, findings: Sequence[Finding], listed: Sequence[Finding], console: Console) -> None:
    counts = count_verdicts(finding.verdict for finding in findings)
    console.print(f"{title}: {counts}", style="italic", highlight=False)
    shown = rich.table.Table(box=None, show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column()
    for finding in listed:
        source = f" ({', '.join(finding.question.source)})" if finding.question.source else ""
        shown.add_row(Text(finding.verdict, STYLES[finding.verdict]), finding.question.says + source)
        shown.add_row("", Text(finding.sentence, "dim"))
    if listed:
        console.print(shown)
