"""A store in a folder copied to servers: sweeps go on there, nothing is trained twice, reports say the same."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from pipeline.tracking.copying import COPIED, RunCopies
from pipeline.tracking.reader import PARENT
from pipeline.tracking.tracker import Tracker
from sweeps.cli.main import main
from sweeps.search.history import History
from sweeps.search.storage import open_study
from tests.conftest import SMALL
from tests.servers.conftest import Team
from tests.sweeps.execution.test_engine import Launched, study

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SWEEP = ["train", "-m", *SMALL, "trainer.epochs=1", "data.limit=100", "model.filters=2,3", "hydra.sweeper.name=moved"]
SWEEP += ["hydra.sweeper.workers=1"]
HERE = ["store.root=mlruns"]


def figures(page: Path) -> list[str]:
    """All numbers of a report's tables, without addresses and run ids."""
    text = re.sub(r"https?://[^\s)\"]+|[0-9a-f]{32}|written \|[^\n]*", "", page.with_suffix(".md").read_text())
    return re.findall(r"\d+\.\d+", text)


def test_a_sweep_that_began_in_a_folder_goes_on_on_the_servers(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SWEEP, "hydra.sweeper.seeds=[0]", *HERE]) == 0
    before = figures(Path("mlruns/reports/moved/report.html"))
    assert before
    there = ["store=server", "store.root=mlruns"]
    capsys.readouterr()
    assert main(["copy-store", "--from", "mlruns", *there]) == 0
    assert "3 runs, 2 trials of studies; 0 runs were there; 1 registered models" in capsys.readouterr().out
    assert main(["copy-store", "--from", "mlruns", *there]) == 0
    assert "0 runs, 0 trials of studies; 3 runs were there; 0 registered models" in capsys.readouterr().out

    elsewhere = team.of("you")
    assert main(["report", "moved", *elsewhere]) == 0
    assert figures(team.folder / "you" / "mlruns" / "reports" / "moved" / "report.html") == before
    np.save("x.npy", np.zeros((2, 8, 8, 1), np.float32))
    assert main(["predict", "moved@best", "x.npy", *HERE]) == 0
    predicted = capsys.readouterr().out.splitlines()[-2:]
    assert main(["predict", "moved@best", "x.npy", *elsewhere]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == predicted

    assert main([*SWEEP, "hydra.sweeper.seeds=[0,1]", *there]) == 0
    assert "4 runs, 2 known, 2 to train" in capsys.readouterr().out


def test_a_search_that_began_in_a_folder_goes_on_on_the_servers(
    root: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tracking.tracker.draw_learning_curves", lambda *told: None)
    first = Launched(study(f"store.root={root}", "study.n_trials=4", "study.pruner=none", "seeds=[0,1]"))
    first.tracker.close(first.parent, "FINISHED")
    assert main(["copy-store", f"--from={root}", *team.of("me")]) == 0
    before = [(trial.number, trial.values, trial.params, trial.seed_values) for trial in first.history.completed()]
    words = [*team.of("me"), "study.pruner=none", "seeds=[0,1]"]
    copied = History(open_study(study(*words, "study.n_trials=4")), study(*words))
    assert [(trial.number, trial.values, trial.params, trial.seed_values) for trial in copied.completed()] == before

    second = Launched(study(*words, "study.n_trials=6"))
    assert len(second.backend.started) == 4, "two trials, two seeds each"
    assert second.states == {"COMPLETE": 6}
    assert second.statuses == {"FINISHED": 12}
    of_old = {run.tags[COPIED]: run for run in second.runs if COPIED in run.tags}
    assert of_old.keys() == {run.run_id for run in first.runs}
    for run in first.runs:
        copy = of_old[run.run_id]
        assert (copy.metrics, copy.params, copy.signature) == (run.metrics, run.params, run.signature)
        assert copy.tags[PARENT] == second.parent
        assert second.tracker.history(copy.run_id) == first.tracker.history(run.run_id)
        assert second.tracker.read_file(copy.run_id, "config.yaml") == first.tracker.read_file(
            run.run_id, "config.yaml"
        )
    ids = {run_id for trial in second.history.completed() for run_id in trial.run_ids}
    assert ids == {run.run_id for run in second.runs}


def test_a_copy_that_was_cut_off_is_made_whole(root: Path, team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.tracker.draw_learning_curves", lambda *told: None)
    first = Launched(study(f"store.root={root}", "study.n_trials=3", "study.pruner=none"))
    first.tracker.close(first.parent, "FINISHED")
    sweep = study(*team.of("me"), "study.n_trials=3", "study.pruner=none")
    copies = RunCopies(first.tracker, Tracker(sweep.store), ["smoke"])
    calls = count()

    def cut(*told: object) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_artifacts", cut)
        with pytest.raises(KeyboardInterrupt):
            copies.copy(lambda: None)
    assert main(["copy-store", f"--from={root}", *team.of("me")]) == 0
    launched = Launched(sweep)
    assert launched.backend.started == []
    assert launched.statuses == {"FINISHED": 3}


def test_what_cannot_be_copied_is_said(root: Path, team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    first = Launched(study(f"store.root={root}", "study.n_trials=1", "study.pruner=none"))
    assert main(["copy-store", f"--from={root}", *team.of("me")]) == 2
    assert "1 runs of smoke are not ended" in capsys.readouterr().err
    first.tracker.close(first.parent, "FINISHED")
    assert main(["copy-store", "smok", f"--from={root}", *team.of("me")]) == 2
    assert "holds no smok (did you mean smoke?)" in capsys.readouterr().err
    assert main(["copy-store", "--from=nowhere", *team.of("me")]) == 2
    assert main(["copy-store", f"--from={root}", f"store.root={root}"]) == 2
    assert "into itself" in capsys.readouterr().err
    assert [each.name for each in team.client.search_experiments()] == ["Default"]
    Tracker(study(*team.of("me")).store).open_sweep("smoke", {})
    assert main(["copy-store", f"--from={root}", *team.of("me")]) == 2
    assert "has another sweep smoke" in capsys.readouterr().err


def said(report: Path, address: str) -> dict[str, str]:
    """All files of a report, its figures among them, without the addresses and ids of runs, and the day."""
    left = re.compile(rf"{address}[^\s\"<)]*|\b[0-9a-f]{{32}}\b|[>\[][0-9a-f]{{8}}[<\]]|20\d\d-\d\d-\d\d( \d\d:\d\d)?")
    return {path.name: left.sub("*", path.read_bytes().decode("latin-1")) for path in report.iterdir()}


def test_a_report_of_the_copy_of_an_ablation_says_the_same(demo: Path, team: Team) -> None:
    assert main(["report", "demo", f"store.root={demo}"]) == 0
    assert main(["copy-store", "demo", f"--from={demo}", *team.of("me")]) == 0
    assert main(["report", "demo", *team.of("you")]) == 0
    here = said(demo / "reports" / "demo", "http://127.0.0.1:5000")
    there = said(team.folder / "you" / "mlruns" / "reports" / "demo", team.address)
    assert here.keys() >= {"report.html", "report.md", "results.csv", "claims.json", "learning_curves.png"}
    assert [name for name in here.keys() | there.keys() if here.get(name) != there.get(name)] == []
