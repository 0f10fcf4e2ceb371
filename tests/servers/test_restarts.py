"""Servers restarted, crashed and away in the middle of sweeps: waited for, nothing lost, nothing twice."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.tracking.reader import KIND
from pipeline.tracking.retry import StoreError
from sweeps.backends.base import Message
from tests.helpers.fakes import FakeBackend
from tests.helpers.servers import Proxy, proxied
from tests.servers.conftest import Team
from tests.sweeps.execution.test_engine import Launched, study

pytestmark = [pytest.mark.servers, pytest.mark.slow]

TRIALS = 8


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing learning curves takes as long as all else that a run does here."""
    monkeypatch.setattr("pipeline.tracking.tracker.draw_learning_curves", lambda *told: None)


class Interrupting(FakeBackend):
    """Does something beside the sweep at each of the messages with these numbers, and goes on at once."""

    def __init__(self, at: tuple[int, ...], disturb: Callable[[], object]) -> None:
        super().__init__()
        self.at, self.disturb, self.count = at, disturb, 0
        self.disturbing: list[threading.Thread] = []

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        """Yield the next messages."""
        for message in super().messages(timeout):
            self.count += 1
            if self.count in self.at:
                for earlier in self.disturbing:
                    earlier.join()
                self.disturbing.append(threading.Thread(target=self.disturb))
                self.disturbing[-1].start()
            yield message


def check(team: Team, launched: Launched) -> None:
    """All trials are complete, each with one finished run, and MLflow and Optuna agree."""
    assert launched.states == {"COMPLETE": TRIALS}
    assert launched.statuses == {"FINISHED": TRIALS}
    assert len(launched.backend.started) == TRIALS
    listed = team.client.search_runs([launched.tracker.experiment(launched.sweep.name)])
    assert Counter(run.data.tags[KIND] for run in listed) == {"sweep": 1, "run": TRIALS}
    by_id = {run.info.run_id: run for run in listed}
    for trial in launched.history.completed():
        (run_id,) = trial.run_ids
        assert by_id[run_id].data.metrics["val/accuracy"] == trial.values[0]
        assert len(launched.tracker.history(run_id)["val/accuracy"]) == launched.sweep.config.trainer.epochs
        assert {file.path for file in team.client.list_artifacts(run_id)} >= {"config.yaml", "overrides.yaml"}


@pytest.mark.parametrize("which", ["PostgreSQL restarted", "PostgreSQL crashed", "MLflow's server killed"])
def test_a_sweep_goes_on_when_a_server_is_back(team: Team, which: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "convsweep")

    def disturb() -> None:
        service, sign = {
            "PostgreSQL restarted": (team.database.service, signal.SIGINT),
            "PostgreSQL crashed": (team.database.service, signal.SIGQUIT),
            "MLflow's server killed": (team.server, signal.SIGKILL),
        }[which]
        service.stop(sign)
        service.start()

    sweep = study(*team.of("me"), f"study.n_trials={TRIALS}", "study.pruner=none", "trainer.epochs=3")
    at = (14,) if which.startswith("MLflow") else (4, 14)  # whose start takes seconds
    backend = Interrupting(at, disturb)
    launched = Launched(sweep, backend)
    for thread in backend.disturbing:
        thread.join()
    assert len(backend.disturbing) == len(at)
    check(team, launched)
    said = [message for message in caplog.messages if "does not answer" in message]
    assert said
    assert all("retrying for 30 s" in message for message in said)


class Lossy(Proxy):
    """Loses every first answer to a POST that creates or ends something."""

    lost: Counter[str]
    is_away = False

    def answer(self, *told: Any) -> None:
        """Answer, or not."""
        key = f"{self.command} {self.path.partition('?')[0]}"
        if self.command == "POST" and "search" not in key:
            self.lost[key] += 1
            if self.lost[key] % 2:
                self.close_connection = True
                return  # done, and nobody hears of it
        super().answer(*told)

    def hand_on(self, **headers: str) -> None:
        """Hand the request on, or close the connection."""
        if self.is_away:
            self.close_connection = True
        else:
            super().hand_on(**headers)


@pytest.fixture
def lossy(team: Team, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A proxy before MLflow's server that loses answers, which the environment names in its place."""
    monkeypatch.setattr(Lossy, "lost", Counter(), raising=False)
    monkeypatch.setattr("pipeline.tracking.retry.PAUSE_SECONDS", 0.01)
    with proxied(Lossy, team.server.port) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield


def test_what_is_repeated_after_a_lost_answer_is_there_once(team: Team, lossy: None) -> None:
    words = [*team.of("me"), f"study.n_trials={TRIALS}", "study.pruner=none", "trainer.epochs=3"]
    check(team, Launched(study(*words)))
    assert Launched(study(*words)).backend.started == []
    assert Lossy.lost["POST /api/2.0/mlflow/runs/create"] > TRIALS
    assert Lossy.lost["POST /api/2.0/mlflow/experiments/create"] == 2


def test_a_server_that_stays_away_ends_the_sweep_and_the_next_launch_finishes_it(
    team: Team, lossy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*team.of("me", 1.0), f"study.n_trials={TRIALS}", "study.pruner=none", "trainer.epochs=3"]
    backend = Interrupting((8,), lambda: monkeypatch.setattr(Lossy, "is_away", True))
    Launched(study(*words), backend, error=StoreError)
    monkeypatch.setattr(Lossy, "is_away", False)
    launched = Launched(study(*words))
    assert launched.states["COMPLETE"] == TRIALS
    assert launched.statuses["FINISHED"] == TRIALS
    assert len(launched.backend.started) < TRIALS, "what was finished is not trained again"
