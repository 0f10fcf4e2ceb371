"""A sweep's report as one self-contained HTML page and as Markdown; and the index over all ablations."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.compose import to_dict
from sweeps.claims.config import StatisticsConfig
from sweeps.claims.verdicts import Finding, count_verdicts
from sweeps.config.ablation import DiscussionConfig, RemarkConfig
from sweeps.reports.tables import MARKS, Table

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """What a report shows, in this order; `figures` are captions by file name."""

    name: str
    description: str
    findings: list[Finding] = field(default_factory=list)
    numbers: list[Finding] = field(default_factory=list)
    method: str = ""
    note: str = ""
    discussion: DiscussionConfig | None = None
    remarks: list[RemarkConfig] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    facts: list[tuple[str, str]] = field(default_factory=list)


def method(settings: StatisticsConfig) -> str:
    """Return how verdicts came about, in words."""
    error = 1 - settings.confidence
    looks = " and ".join(filter(None, [", ".join(map(str, settings.looks[:-1])), str(settings.looks[-1])]))
    limits = ", ".join(f"{name} {value:g}" for name, value in settings.tolerance.items())
    return (
        f"Each interval has {settings.confidence:.0%} confidence, uncorrected. Claims are tested over seeds, paired "
        f"if two configs are compared, by Student's t, at {looks} seeds; the first of these looks that decides stands. "
        f"A verdict needs p below {error:.2g} after correction for the looks, and by Holm's method for all claims that "
        "are open then, published numbers likewise among themselves. A published "
        "number is reproduced if it lies in the prediction interval for one further run of ours, widened by a "
        f"tolerance ({limits}; losses and predictions relative). INCONCLUSIVE: the seeds do not decide."
    )


MARKDOWN = re.compile(r"[\\`*<|~$]|\](?=[(\[:])|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|^(?:>|[#+-]+(?=\s+\S))|(?<=^\d)[.)](?=\s)")


def markdown_escaped(text: object) -> str:
    """Return text as Markdown that shows it as it is, on one line, in a table too."""
    return MARKDOWN.sub(r"\\\g<0>", " ".join(str(text).split()))


def markdown_code(text: object) -> str:
    """Return text as Markdown's code, whatever backticks it has."""
    line = " ".join(str(text).split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if fence == "`" else f"{fence} {line} {fence}"


def render(template: str, **values: Any) -> str:
    """Return a template of this folder's templates/, filled in."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": markdown_escaped, "code": markdown_code, "counts": count_verdicts}
    environment.filters["base64"] = lambda path: base64.b64encode(path.read_bytes()).decode()
    environment.globals["mark"] = MARKS
    return environment.get_template(template).render(**values)


def write_page(page: Page, folder: Path) -> None:
    """Write report.html and report.md into the folder, which holds the figures."""
    for kind in ("html", "md"):
        (folder / f"report.{kind}").write_text(render(f"report.{kind}.j2", page=page, folder=folder))


def index_entry(page: Page, changed: Sequence[str], made: str) -> dict[str, object]:
    """Return all that the index shows of an ablation, for its claims.json.

    `changed` says what makes it another experiment than its file's, and `made` when and on what it was measured.
    """
    return {
        "name": page.name,
        "description": page.description,
        "discussion": to_dict(page.discussion) if page.discussion else None,
        "remarks": [to_dict(remark) for remark in page.remarks],
        "changed": list(changed),
        "method": page.method,
        "made": made,
        "findings": [finding.as_dict() for finding in page.findings],
        "numbers": [finding.as_dict() for finding in page.numbers],
    }


def render_index(pages: Sequence[Mapping[str, Any]], written: str) -> dict[str, str]:
    """Return index.html and results.md by name: the scoreboard over all ablations, from their claims.json.

    Modified ablations, run with other configs than their files', stand apart and do not count.
    """
    shown = [page for page in pages if not page["changed"]]
    values = {
        "pages": shown,
        "changed": [page for page in pages if page["changed"]],
        "findings": [finding for page in shown for finding in page["findings"]],
        "numbers": [finding for page in shown for finding in page["numbers"]],
        "methods": list(dict.fromkeys(page["method"] for page in pages)),
        "written": written,
    }
    return {"index.html": render("index.html.j2", **values), "results.md": render("index.md.j2", **values)}
