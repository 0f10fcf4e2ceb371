"""Pages of MLflow's web app: a sweep's saved view, a run's page."""

from __future__ import annotations

import base64
import json
import time
import zlib
from urllib.parse import urlencode

from pipeline.tracking.reader import PARENT, TRIAL, TrackedRun
from pipeline.tracking.tracker import Tracker

VIEW = "convsweep.view"


def save_view(tracker: Tracker, sweep: str, parent: str, columns: list[str]) -> str:
    """Save a view of the sweep's runs, grouped by trial and averaged, and return its path (see `view_path`).

    Args:
        tracker: Tracker of the sweep's store.
        sweep: Name of the experiment.
        parent: Id of the sweep's parent run.
        columns: Columns of the table, as in `metrics.test/accuracy` or `params.model.filters`.
    """
    key = f"convsweep-{zlib.crc32(parent.encode()):08x}"
    state = {
        "searchFilter": f"tags.`{PARENT}` = '{parent}'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "selectedColumns": [f"{kind}.`{name}`" for kind, _, name in (column.partition(".") for column in columns)],
        "runsHiddenMode": "SHOWALL",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": TRIAL}]},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": sweep, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    experiment = tracker.experiment(sweep)
    tracker.client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{key}", json.dumps(view))
    tracker.client.set_experiment_tag(experiment, VIEW, key)
    return view_path(experiment, key)


def view_path(experiment: str, key: str | None) -> str:
    """Return the path of an experiment's page, without host and port: charts of a saved view, or its table of runs."""
    query = {"workflowType": "machine_learning"}
    query |= {"viewStateShareKey": key, "compareRunsMode": "CHART"} if key else {}
    return f"/#/experiments/{experiment}/runs?{urlencode(query)}"


def run_path(run: TrackedRun) -> str:
    """Return the path of a run's page, without host and port."""
    return f"/#/experiments/{run.experiment_id}/runs/{run.run_id}"
