"""The process in which a user's loader is called: import, check, call, check what it returns, write that down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.checks import ConfigError
from pipeline.config.code import call, check_arguments, import_function
from pipeline.config.functions import receive
from pipeline.datasets.arrays import NAMES, tidied, write

RETURNS = "it must return (x_train, y_train), (x_test, y_test), as Keras's load_data functions do"


def run(job: Mapping[str, Any]) -> None:
    """Call the loader of a job, and write its arrays, or what was wrong, into the job's folder."""
    folder = Path(job["folder"])
    try:
        receive(job["functions"])
        result = {"sha256": write(_loaded(job["loader"], job["args"]), folder)}
    except ConfigError as error:
        result = {"error": str(error)}
    except OSError as error:
        result = {"error": f"the cache {folder.parent} cannot be used: {error}"}
    (folder / "result.json").write_text(json.dumps(result))


def _loaded(loader: str, args: dict[str, Any]) -> dict[str, Any]:
    function = import_function("data.loader", loader)
    check_arguments("data.args", function, [], args)
    returned = call(f"data.loader={loader}", function, **args)
    try:
        (x_train, y_train), (x_test, y_test) = _pairs(returned)
        return tidied(dict(zip(NAMES, (x_train, y_train, x_test, y_test), strict=True)))
    except ConfigError as error:
        raise ConfigError(f"what data.loader={loader} returns cannot be used: {error}") from None


def _pairs(returned: Any) -> Any:
    """Return the pairs of a training and a test set."""
    is_pair = isinstance(returned, tuple | list) and len(returned) == 2
    if is_pair and all(isinstance(part, tuple | list) and len(part) == 2 for part in returned):
        return returned
    if isinstance(returned, tuple | list):
        inside = ", ".join(type(part).__name__ for part in returned[:5])
        what = f"a {type(returned).__name__} of {len(returned)}: {inside}"
    else:
        what = f"a {type(returned).__name__}"
    raise ConfigError(f"it is {what}; {RETURNS}")
