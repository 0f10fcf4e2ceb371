"""Every project in examples/ is run in small, because it exists; what examples/ci runs is right."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config.groups import CONF
from sweeps.cli.init import write_project
from sweeps.cli.main import main

ROOT = CONF.parent
EXAMPLES = sorted(folder.name for folder in (ROOT / "examples").iterdir() if (folder / "conf").is_dir())
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


CI = ROOT / "examples" / "ci"


def test_the_workflow_runs_a_command_that_is_right(
    project: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow: dict[str, Any] = yaml.safe_load((CI / "claims.yml").read_text())
    runs = [step["run"] for step in workflow["jobs"]["claims"]["steps"] if "run" in step]
    (command,) = [run for run in runs if run.startswith("convsweep")]
    words = shlex.split(re.sub(r"\$(\w+)", lambda match: workflow["env"][match[1]], command))[1:]
    write_project(tmp_path)
    assert main([*words, "--dry-run"]) == 0
    assert "strict=true" in words
    assert "runs to train" in capsys.readouterr().out
    assert any(run.startswith("python verdicts.py") for run in runs)


@pytest.mark.parametrize(
    ("verdict", "options", "code"),
    [("REPRODUCED", ["--all-reproduced"], 0), ("INCONCLUSIVE", [], 0), ("INCONCLUSIVE", ["--all-reproduced"], 1)],
)
def test_the_verdicts_are_printed(verdict: str, options: list[str], code: int, tmp_path: Path) -> None:
    finding = {"name": "wider", "verdict": verdict, "says": "wider is better", "sentence": "+0.1."}
    page = {"name": "example", "description": "nets", "made": "today", "findings": [finding], "numbers": []}
    (tmp_path / "claims.json").write_text(json.dumps(page))
    command = [sys.executable, str(CI / "verdicts.py"), str(tmp_path / "claims.json"), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code
    assert f"| {verdict} | wider is better | +0.1. |" in done.stdout
    assert "wider" in done.stderr or not code
