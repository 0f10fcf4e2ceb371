"""Every sampler by name proposes points, the same ones for equal seeds."""

from __future__ import annotations

import optuna
import pytest

from sweeps.cli.main import main
from sweeps.search.samplers import PACKAGES, SAMPLERS, make_sampler


def proposed(name: str, seed: int) -> list[tuple[float, str]]:
    study = optuna.create_study(sampler=make_sampler(name, seed), direction="maximize")
    points = []
    for _ in range(15):
        trial = study.ask()
        rate, kind = trial.suggest_float("rate", 0, 1), trial.suggest_categorical("kind", ["a", "b"])
        study.tell(trial, -((rate - 0.3) ** 2) + (kind == "a"))
        points.append((rate, kind))
    return points


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "gp"])
def test_a_sampler_proposes_the_same_points_again(name: str) -> None:
    points = proposed(name, 1)
    assert len(set(points)) > 10
    assert points == proposed(name, 1)
    assert points != proposed(name, 2)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_sampler_whose_package_is_missing_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sweeps.config.study.find_spec", lambda package: None)
    assert main(["study", "smoke", f"study.sampler={name}", "--dry-run"]) == 2
    assert f"needs {PACKAGES[name]}, which is not installed: pip install" in capsys.readouterr().err


def test_cmaes_has_one_objective(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["study.objectives={val/accuracy: maximize, parameters: minimize}", "study.pruner=none"]
    assert main(["study", "smoke", "study.sampler=cmaes", *words, "--dry-run"]) == 2
    assert "another for several objectives" in capsys.readouterr().err
