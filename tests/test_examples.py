"""Every project in examples/ is run in small, because it exists."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.groups import CONF

ROOT = CONF.parent
EXAMPLES = sorted(folder.name for folder in (ROOT / "examples").iterdir())
SMALL = ["trainer.steps_per_epoch=1", "data.limit=60", "trainer.threads=1", "checkpoints.max_gib=0"]
ONE_RUN = ["workers=1", "seeds=[0]", "store.log_model=none"]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_run_in_its_folder(name: str, root: Path) -> None:
    command = [sys.executable, "-m", "sweeps.cli.main", "ablate", name, *SMALL, *ONE_RUN, f"store.root={root}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT / "examples" / name, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (root / "reports" / name / "results.csv").open() as file:
        trials = {row["trial"] for row in csv.DictReader(file) if float(row["test/accuracy"]) > 0}
    assert len(trials) >= 3


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_it_is_and_what_came_of_it(name: str) -> None:
    folder = ROOT / "examples" / name
    header = (folder / "conf" / "ablation" / f"{name}.yaml").read_text()
    for word in ("Reproduces:", "Expected:", "Cost:", f"Command: convsweep ablate {name}"):
        assert word in header
    assert f"convsweep ablate {name}" in (folder / "README.md").read_text()
    assert f"command: `convsweep ablate {name}`" in (folder / "results" / "report.md").read_text()
