"""MLflow's web app on a store, to be served by this process."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.schema import StoreConfig
from pipeline.tracking.client import set_up_mlflow

if TYPE_CHECKING:
    import uvicorn

# Settings that MLflow's page keeps in the browser. By default it opens on language models, a banner and an assistant.
SETTINGS = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.telemetry.info.alert.dismissed_v1": "true",
    "mlflow.settings.telemetry.enabled_v1": "false",
}
SCRIPT = """<script>
for (const [key, value] of Object.entries(%s)) if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
</script>"""


def mlflow_server(store: StoreConfig) -> uvicorn.Server:
    """Return a server of MLflow's web app on the store; pass it a listening socket to run.

    MLflow takes the store from the environment, so a process serves one store.
    """
    set_up_mlflow()
    import uvicorn  # before MLflow, which otherwise takes this for a client and checks no hosts and origins

    with warnings.catch_warnings(action="ignore"):  # from MLflow's imports
        from mlflow.server import app
        from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
        from mlflow.server.fastapi_app import app as fastapi_app

    os.environ[BACKEND_STORE_URI_ENV_VAR] = store.mlflow_uri
    os.environ[ARTIFACT_ROOT_ENV_VAR] = (store.folder / "artifacts").as_uri()
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of each refused request, which any page can send
    page = Path(str(app.static_folder), "index.html").read_text()
    page = page.replace("<head>", "<head>" + SCRIPT % json.dumps(SETTINGS), 1)
    app.view_functions["serve"] = lambda: page
    return uvicorn.Server(uvicorn.Config(fastapi_app, log_config=None, log_level="error", access_log=False))
