"""MLflow's web app on a store."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

from pipeline.config.schema import StoreConfig
from pipeline.tracking.client import set_up_mlflow

# Settings that MLflow's page keeps in the browser. By default it opens on language models, a banner and an assistant.
SETTINGS = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.telemetry.info.alert.dismissed_v1": "true",
    "mlflow.settings.telemetry.enabled_v1": "false",
}
# Nor is there an assistant here whose button could open it.
HEAD = """<style>[data-assistant-ui] { display: none !important }</style><script>
for (const [key, value] of Object.entries(%s)) if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
</script>"""


def mlflow_app(store: StoreConfig) -> Any:
    """Return MLflow's web app (WSGI) on the store.

    It checks neither hosts nor origins, which is left to who serves it. MLflow takes the store from the environment, so
    a process serves one store.
    """
    set_up_mlflow()
    warnings.simplefilter("ignore")  # from MLflow's imports, some of which wait for the first request
    from mlflow.server import app
    from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR

    os.environ[BACKEND_STORE_URI_ENV_VAR] = store.mlflow_uri
    os.environ[ARTIFACT_ROOT_ENV_VAR] = (store.folder / "artifacts").as_uri()
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of each refused request, which any page can send
    page = Path(str(app.static_folder), "index.html").read_text()
    page = page.replace("<head>", "<head>" + HEAD % json.dumps(SETTINGS), 1)
    app.view_functions["serve"] = lambda: page
    return app
