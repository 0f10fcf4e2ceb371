"""Pages of MLflow's web app: an experiment's saved views, with their charts, and a run's page."""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pipeline.tracking.reader import PARENT, TRIAL, TrackedRun
from pipeline.tracking.tracker import Tracker

SHARED = "mlflow.sharedViewState."
# Name of the view that links open.
FIRST = "curves"
# Tag of experiments of before December 2026, which had one view: its key.
VIEW = "convsweep.view"


@dataclass(frozen=True)
class Chart:
    """A chart of one metric: a bar per group, or a line over the epochs.

    `bounds` are those of its axis; None for MLflow's own, which begins at 0.
    """

    metric: str
    is_line: bool = False
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Section:
    """Charts under a title; folded ones are opened by a click.

    MLflow adds a chart of every other metric, as of PREFIX/NAME to the section called PREFIX.
    """

    title: str
    charts: Sequence[Chart] = ()
    is_folded: bool = False


@dataclass(frozen=True)
class View:
    """A saved view of runs, grouped by trial and averaged over their seeds.

    Attributes:
        name: What MLflow's menu calls it, and its key in links.
        order_by: Metric by which groups and runs are ordered, the best first.
        ascending: Whether less of it is better.
        columns: Columns of the table, as in `metrics.test/accuracy` or `params.model.filters`.
        sections: Of its charts.
    """

    name: str
    order_by: str
    ascending: bool
    columns: Sequence[str]
    sections: Sequence[Section]


def save_views(tracker: Tracker, sweep: str, parent: str, views: Sequence[View], folded: Sequence[str] = ()) -> str:
    """Save views of the sweep's runs, and return the path of the first (see `view_path`).

    Args:
        tracker: Tracker of the sweep's store.
        sweep: Name of the experiment.
        parent: Id of the sweep's parent run.
        views: What is saved.
        folded: Labels of the trials whose runs are shown by a click.
    """
    experiment, now = tracker.experiment(sweep), int(time.time() * 1000)
    for view in views:
        state = json.dumps(_state(view, parent, folded)).encode()
        packed = f"deflate;{base64.b64encode(zlib.compress(state)).decode()}"
        envelope = {"name": view.name, "createdAt": now, "updatedAt": now, "state": packed}
        tracker.client.set_experiment_tag(experiment, SHARED + view.name, json.dumps(envelope))
    if stored := tracker.find_experiment(sweep):
        for tag in (VIEW, SHARED + stored.tags.get(VIEW, "")):
            if tag in stored.tags:
                tracker.client.delete_experiment_tag(experiment, tag)
    return view_path(experiment, views[0].name)


def _state(view: View, parent: str, folded: Sequence[str]) -> dict[str, Any]:
    """Return the state of MLflow's page; ordered by a metric, it leaves the parent run itself out."""
    columns = [f"{kind}.`{name}`" for kind, _, name in (column.partition(".") for column in view.columns)]
    return {
        "searchFilter": f"tags.`{PARENT}` = '{parent}'",
        "orderByKey": f"metrics.`{view.order_by}`",
        "orderByAsc": view.ascending,
        "selectedColumns": columns,
        "runsHiddenMode": "SHOWALL",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": TRIAL}]},
        "groupsExpanded": {f"tag.{TRIAL}.{label}": False for label in folded},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": each.title, "name": each.title, "display": not each.is_folded, "isReordered": True}
            | {"deleted": False, "isGenerated": False}
            for each in view.sections
        ],
        "compareRunCharts": [_chart(chart, each.title) for each in view.sections for chart in each.charts],
    }


def _chart(chart: Chart, section: str) -> Mapping[str, Any]:
    """Return a chart as MLflow's page has it."""
    common = {
        "type": "LINE" if chart.is_line else "BAR",
        "uuid": f"{section} {chart.metric}",
        "runsCountToCompare": 20,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "metricKey": chart.metric,
        "displayName": chart.metric,
    }
    low, high = chart.bounds or (None, None)
    line = {
        "selectedMetricKeys": [chart.metric],
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": False,
        "useGlobalXaxisKey": False,
        "range": {"yMin": low, "yMax": high} if chart.bounds else {},
        "selectedYAxisMetricKey": "metric",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
    }
    return common | line if chart.is_line else common


def first_view(tags: Mapping[str, str]) -> str | None:
    """Return the key of the view that links open, by the experiment's tags; None if it has none."""
    return FIRST if SHARED + FIRST in tags else tags.get(VIEW)


def view_path(experiment: str, key: str | None) -> str:
    """Return the path of an experiment's page, without host and port: charts of a saved view, or its table of runs."""
    query = {"workflowType": "machine_learning"}
    query |= {"viewStateShareKey": key, "compareRunsMode": "CHART"} if key else {}
    return f"/#/experiments/{experiment}/runs?{urlencode(query)}"


def run_path(run: TrackedRun) -> str:
    """Return the path of a run's page, without host and port."""
    return f"/#/experiments/{run.experiment_id}/runs/{run.run_id}"


def direct_path(run_id: str) -> str:
    """Return the path of the page of a run of which only the id is known, without host and port."""
    return f"/#/runs/{run_id}"
