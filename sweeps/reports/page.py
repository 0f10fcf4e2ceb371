"""A sweep's report as one self-contained HTML page and as Markdown."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.claims.config import StatisticsConfig
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, count_verdicts
from sweeps.config.ablation import DiscussionConfig, RemarkConfig
from sweeps.reports.chart import Chart, bar_of
from sweeps.reports.tables import MARKS, Table

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# The order in which verdicts are shown: first what surprises.
VERDICTS = (CONTRADICTED, INCONCLUSIVE, REPRODUCED)


@dataclass(frozen=True)
class Page:
    """What a report shows, in this order.

    Attributes:
        kind, name, description: Of the sweep: ablation, grid or study.
        title, headline: What is asked, and what came out.
        counts: Numbers with what they count, where there are no verdicts.
        chart, charted: The chart, and the file of `figures` that shows the same where there is no room for it.
        card: Facts about a search's best config.
        figures: Captions by file name.
    """

    kind: str
    name: str
    description: str
    title: str
    headline: str
    counts: list[tuple[int, str]] = field(default_factory=list)
    chart: Chart | None = None
    charted: str = ""
    card: list[tuple[str, str]] = field(default_factory=list)
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
    return str(_environment(template.endswith(".html.j2")).get_template(template).render(**values))


@cache
def _environment(is_html: bool) -> Environment:
    """Return what compiles each template once; with `is_html`, signs of HTML in values are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": markdown_escaped, "code": markdown_code, "counts": count_verdicts}
    environment.filters["base64"] = lambda path: base64.b64encode(path.read_bytes()).decode()
    environment.filters["bar"] = bar_of
    environment.globals |= {"mark": MARKS, "verdicts": VERDICTS}
    return environment


def write_page(page: Page, folder: Path) -> None:
    """Write report.html and report.md into the folder, which holds the figures."""
    for kind in ("html", "md"):
        (folder / f"report.{kind}").write_text(render(f"report.{kind}.j2", page=page, folder=folder))
