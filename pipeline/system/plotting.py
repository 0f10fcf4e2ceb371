"""What all figures share: drawing without a display, colours, and errors that cost no run its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.system.messages import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, safe for colour-blind readers: https://jfly.uni-koeln.de/color/
COLOURS = {"train": "#0072B2", "val": "#009E73", "test": "#D55E00"}
# For print without colour.
MARKERS = {"train": "o", "val": "^", "test": "s"}


def draw_off_screen() -> None:
    """Select Matplotlib's file-only back end; call this before Matplotlib is imported.

    A notebook passes its own MPLBACKEND on to commands; where that package is not installed, Matplotlib's import fails.
    """
    os.environ["MPLBACKEND"] = "agg"


@contextmanager
def pyplot_off_screen() -> Iterator[None]:
    """Let a library draw with pyplot into files; then leave pyplot as it was: back end, settings and open figures."""
    import matplotlib
    from matplotlib import pyplot

    opened = set(pyplot.get_fignums())
    # Not by `switch_backend` to the one before: where none is chosen yet, that would choose one, and load a toolkit.
    backend, module = dict.__getitem__(matplotlib.rcParams, "backend"), pyplot._backend_mod
    pyplot.switch_backend("agg")
    try:
        with matplotlib.rc_context():
            yield
    finally:
        for number in set(pyplot.get_fignums()) - opened:
            pyplot.close(number)
        dict.__setitem__(matplotlib.rcParams, "backend", backend)
        pyplot._backend_mod = module


def new_figure(width: float, height: float, **settings: Any) -> Figure:
    """Return an empty figure of `width` by `height` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **settings)


def try_to_draw(draw: Callable[[Path], object], path: Path) -> str:
    """Draw a figure into the file `path` and return an empty string, or one line on why it failed.

    No run and no report is lost for a figure.
    """
    try:
        draw(path)
    except Exception as error:
        path.unlink(missing_ok=True)
        return f"no figure {path.name}: {one_line(error)}"
    return ""
