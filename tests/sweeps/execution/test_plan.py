"""What a dry run shows."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from pipeline.system.hardware import cores
from sweeps.cli.main import main

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


@pytest.mark.slow
def test_a_dry_run_of_a_sweep_shows_what_is_known_and_writes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["trainer.epochs=1", "data.limit=300", "store.log_model=none"]
    assert main(["ablate", "demo", *quick, "seeds=[0]"]) == 0
    capsys.readouterr()
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.suffix == ".db" and p.name == "optuna.db"}
    assert main(["ablate", "demo", *quick, "seeds=[0,1]", "--dry-run"]) == 0
    told = capsys.readouterr().out
    workers = min(4, cores())
    assert f"4 runs to train, 4 known; {workers} worker{'s' if workers > 1 else ''}, expected time" in told
    assert "from earlier runs" in told
    assert main(["train", "-m", "model.filters=4", "trainer.epochs=1,2,4", *DIGITS[:2], "--dry-run"]) == 0
    assert "3 runs to train, 0 known; 1 worker, " in capsys.readouterr().out
    assert main(["study", "smoke", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "infinitely many points" in told
    assert "20 trials x 1 seed;" in told
    assert before == {p: p.stat().st_mtime_ns for p in before}
    with pytest.raises(KeyError):
        optuna.load_study(study_name="smoke", storage=f"sqlite:///{root / 'optuna.db'}")


def test_a_space_of_whole_numbers_has_a_number_of_points(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = ["model.filters=int(interval(1,1000))", "trainer.batch_size=int(interval(1,1000))", *VALIDATED]
    assert main(["train", "-m", *numbers, *DIGITS, "--dry-run"]) == 0
    assert "up to 1,000,000 points" in capsys.readouterr().out


NOT_EXTENDED = "cosine: a run with another number of epochs is trained from the first, not extended"
COSINE = ["optimizer.schedule=cosine", *DIGITS]
VALIDATED = ["data.val_fraction=0.2", "hydra.sweeper.n_trials=3"]


@pytest.mark.parametrize(
    ("command", "is_said"),
    [
        (["train", *COSINE], True),
        (["train", *DIGITS], False),
        (["train", "-m", "optimizer.schedule=constant,cosine", "trainer.epochs=1,2", *DIGITS[:2]], True),
        (["train", "-m", "optimizer.schedule=exponential", "optimizer.decay_rate=0.5,0.9", *DIGITS], False),
        (["train", "-m", "model.dropout=interval(0,0.5)", *VALIDATED, *COSINE], True),
        (
            [
                "train",
                "-m",
                "optimizer.learning_rate=interval(0.1,1)",
                *VALIDATED,
                "optimizer.schedule=constant,cosine",
            ],
            True,
        ),
    ],
    ids=["run", "constant run", "grid", "another grid", "search", "search over schedules"],
)
def test_a_plan_says_what_a_cosine_cannot(
    root: Path, command: list[str], is_said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out.count(NOT_EXTENDED) == is_said
