"""`python -m pipeline.train`: train one run, as `convsweep train` does."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

if __name__ == "__main__":
    (convsweep,) = entry_points(group="console_scripts", name="convsweep")
    sys.exit(convsweep.load()(["train", *sys.argv[1:]]))
