"""`format: python`: arrays that a function of one's own returns, called in a process of its own.

What it prints, imports, breaks or crashes stays there. It may read files beside it, so its result is never taken from
an earlier launch, unless the config says by `data.sha256` which result is meant.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config.code import code_sha256
from pipeline.config.data import DataConfig
from pipeline.config.functions import shipped
from pipeline.datasets.arrays import Arrays, WrongDataError, keep, kept, scratch_folder
from pipeline.datasets.cache import Say
from pipeline.system.messages import printable

# Before anything is imported: the project's folder is on the parent's import path, perhaps not on the child's.
START = """
import pickle, sys
job = pickle.load(sys.stdin.buffer)
sys.path[:] = job["sys_path"]
from pipeline.datasets.loader_process import run
run(job)
"""
MOST_LINES = 20  # of what a loader that crashed has printed

_results: dict[tuple[str, str], str] = {}


def loaded_arrays(data: DataConfig, say: Say) -> tuple[Arrays, str]:
    """Return what `data.loader` gives, and the SHA-256 of its content.

    It is called once per launch for equal `data.args`, see `forget_results`; not at all where `data.sha256` names
    arrays that the cache has.

    Raises:
        WrongDataError: if it cannot be imported or called, fails, or returns what no network can be trained on.
        DataError: if the cache cannot be used.
    """
    cache = Path(data.cache).expanduser().absolute()
    if data.sha256 and (arrays := kept(cache, data.sha256, say)):
        return arrays, data.sha256
    key = (json.dumps([data.loader, data.args]), str(cache))
    arrays = kept(cache, _results[key], say) if key in _results else None
    if arrays is None:
        _results[key] = _called(data, cache, say)
        arrays = kept(cache, _results[key], say)
        assert arrays is not None
    if data.sha256 not in (None, _results[key]):
        raise WrongDataError(
            f"data={data.name}: {called(data)} gives other data than it did: its SHA-256 is {_results[key]}, not "
            f"{data.sha256} as in data.sha256. data.sha256=null takes what it gives now"
        )
    return arrays, _results[key]


def forget_results() -> None:
    """Let every loader be called again, as a new launch in the same process must."""
    _results.clear()


def called(data: DataConfig) -> str:
    """Return the call of a loader as it is written: shapes:load(n=1000)."""
    return f"{data.loader}({', '.join(f'{name}={value!r}' for name, value in data.args.items())})"


def _called(data: DataConfig, cache: Path, say: Say) -> str:
    """Call the loader, put its arrays into the cache, and return the SHA-256 of their content."""
    code_sha256("data.loader", str(data.loader))  # raises where there is no such module
    say(f"data={data.name}: calling {called(data)}")
    with scratch_folder(cache) as folder:
        job = {"sys_path": sys.path, "functions": shipped(), "loader": data.loader, "args": data.args}
        printed = _run(pickle.dumps(job | {"folder": str(folder)}))
        result: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            result = json.loads((folder / "result.json").read_bytes())
        if "error" in result:
            raise WrongDataError(f"data={data.name}: {result['error']}")
        if "sha256" not in result:
            lines = printed.splitlines()
            raise WrongDataError("\n  ".join([f"data={data.name}: {called(data)} {lines[0]}", *lines[1:]]))
        keep(folder, cache, result["sha256"])
    return str(result["sha256"])


def _run(job: bytes) -> str:
    """Call a loader in a process of its own; return how that ended, in a line, and the last lines that it printed."""
    from rich import get_console

    from pipeline.progress import waiting

    # Bytecode is taken for a source's by its size and its second: an edit within a second would go unnoticed.
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with (
        waiting(get_console(), "reading the data"),
        subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | quiet,
            process_group=0,  # of its own: with it end the processes that a loader may have started
        ) as process,
    ):
        try:
            output, _ = process.communicate(job)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    code = process.returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended its process with exit code {code}"
    lines = output.decode(errors="replace").strip().splitlines()
    return "\n".join([how, *(printable(line) for line in lines[-MOST_LINES:])])
