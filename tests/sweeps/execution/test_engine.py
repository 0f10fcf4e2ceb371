"""The engine on a closed-form objective and real stores: schedule, prune, resume, retry, dedupe, conditions, limits."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.config.schema import RunConfig
from pipeline.progress import ProgressReporter
from pipeline.tracking.leases import Leases, of_run
from pipeline.tracking.reader import TrackedRun
from pipeline.tracking.tracker import Tracker
from pipeline.training.identity import resolve
from sweeps.backends.base import Done, Failed, Job, Message, Resources
from sweeps.config.ablation import compose_ablation
from sweeps.config.multirun import compose_multirun
from sweeps.config.study import compose_study
from sweeps.execution.membership import Membership
from sweeps.execution.model_logging import log_models
from sweeps.execution.session import DataHashes, Session
from sweeps.launch import _confirm
from sweeps.search.history import History
from sweeps.search.proposers import Grid, Proposer, Sampler
from sweeps.search.storage import open_study
from sweeps.sweep import Sweep
from tests.helpers.fakes import FakeBackend, accuracy


@pytest.fixture
def root(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store without learning curves: drawing them takes as long as all else that a run does here."""
    monkeypatch.setattr("pipeline.tracking.tracker.draw_learning_curves", lambda *told: None)
    return root


class Everything(dict[str, str]):
    """The hash of any dataset, without loading it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> str:
        return f"{self.prefix} {key}"


class Launched:
    """One launch of a sweep on a fake pool, and what it left in the stores."""

    def __init__(
        self,
        sweep: Sweep,
        backend: FakeBackend | None = None,
        error: type[BaseException] | None = None,
        data_sha256: str = "data",
    ) -> None:
        self.sweep, self.backend, self.tracker = sweep, backend or FakeBackend(), Tracker(sweep.store)
        self.parent = self.tracker.open_sweep(sweep.name, {})
        self.history = History(open_study(sweep), sweep)
        console, hashes = Console(quiet=True), DataHashes(Console(quiet=True))
        hashes.by_source = Everything(data_sha256)
        self.session = Session(sweep, self.tracker, self.parent, self.history, self.backend, console, hashes)
        with pytest.raises(error) if error else nullcontext():
            self.run()

    def run(self) -> None:
        self.proposer: Proposer
        if self.sweep.trials is not None:
            self.proposer = Grid(self.sweep, self.history)
        else:
            self.proposer = sampler = Sampler(self.sweep, self.history, lambda: self.session.is_over)
            sampler.close_abandoned()
        self.session.train(self.proposer)

    @property
    def runs(self) -> list[TrackedRun]:
        return self.tracker.children(self.parent, self.sweep.name)

    @property
    def statuses(self) -> Counter[str]:
        return Counter(run.status for run in self.runs)

    @property
    def states(self) -> Counter[str]:
        return Counter(trial.state.name for trial in self.history.study.get_trials(deepcopy=False))


def study(*overrides: str) -> Sweep:
    return compose_study("smoke", ["store.log_model=none", "workers=2", *overrides])


def grid(*overrides: str, **settings: Any) -> Sweep:
    base = ["data=digits", "model.padding=same", "trainer.epochs=3", "store.log_model=none"]
    return compose_multirun([*base, *overrides], settings)


def test_n_trials_is_a_total_also_after_resume(root: Path) -> None:
    first = Launched(study("study.n_trials=5", "study.pruner=none"))
    assert first.states == {"COMPLETE": 5}
    second = Launched(study("study.n_trials=8", "study.pruner=none"))
    assert second.states == {"COMPLETE": 8}
    assert len(second.backend.started) == 3
    assert second.statuses == {"FINISHED": 8}
    assert Launched(study("study.n_trials=8", "study.pruner=none")).backend.started == []


def test_the_value_of_a_trial_is_the_mean_over_its_seeds(root: Path) -> None:
    launched = Launched(study("study.n_trials=2", "seeds=[0,1,2]", "study.pruner=none"))
    assert launched.statuses == {"FINISHED": 6}
    for trial in launched.history.completed():
        by_seed = trial.seed_values
        assert set(by_seed) == {"0", "1", "2"}
        assert trial.values[0] == pytest.approx(sum(by_seed.values()) / 3)
        assert by_seed["2"] == pytest.approx(by_seed["0"] + 0.002)
        runs = [launched.tracker.get(run_id) for run_id in trial.run_ids]
        assert [run.metrics["val/accuracy"] for run in runs] == list(by_seed.values())


def fading(config: RunConfig, epoch: int) -> float:
    """Worse after every epoch: what a patient pruner stops."""
    return accuracy(config, 1) - 0.01 * epoch


@pytest.mark.parametrize("pruner", ["median", "successive_halving", "hyperband", "patient"])
def test_pruned_runs_are_killed_with_their_epoch_and_are_no_cache_hit(root: Path, pruner: str) -> None:
    overrides = ["study.n_trials=16", f"study.pruner={pruner}", "study.sampler=random", "trainer.epochs=9"]
    launched = Launched(study(*overrides), FakeBackend(formula=fading if pruner == "patient" else accuracy))
    assert launched.states["COMPLETE"] + launched.states["PRUNED"] == 16
    assert launched.states["PRUNED"] >= 2
    assert launched.statuses == {"FINISHED": launched.states["COMPLETE"], "KILLED": launched.states["PRUNED"]}
    for run in launched.runs:
        if run.status == "KILLED":
            assert 1 <= int(run.tags["convsweep.pruned_at"]) < 9
            assert launched.tracker.find_finished(run.signature) is None
    best = max(launched.history.completed(), key=lambda trial: trial.values[0])
    assert best.values[0] == pytest.approx(launched.history.best)


def test_pruning_is_deterministic_given_the_results(root: Path) -> None:
    one = Launched(study("study.n_trials=10", "study.sampler=random", "study.name=one"), FakeBackend(1))
    two = Launched(
        study("study.n_trials=10", "study.sampler=random", "study.name=two"), FakeBackend(1), data_sha256="other"
    )
    known = Launched(study("study.n_trials=10", "study.sampler=random", "study.name=three"), FakeBackend(1))
    assert len(known.backend.started) == one.states["PRUNED"], "only what was pruned is trained again"
    told = [[(t.state.name, t.params, t.intermediate_values) for t in x.history.study.get_trials()] for x in (one, two)]
    assert told[0] == told[1]


def test_wilcoxon_gives_a_hopeless_trial_up_after_some_seeds(root: Path) -> None:
    seeds = f"seeds={list(range(8))}".replace(" ", "")
    launched = Launched(
        study("study.n_trials=6", seeds, "study.pruner=wilcoxon", "study.sampler=random"), FakeBackend(1)
    )
    assert launched.states["PRUNED"] >= 1
    assert launched.states["PRUNED"] + launched.states["COMPLETE"] == 6
    assert len(launched.backend.started) < 48
    pruned = next(t for t in launched.history.trials() if t.state == "PRUNED")
    assert 3 <= len(pruned.seed_values) < 8


def test_an_old_point_costs_nothing_and_counts_once(root: Path) -> None:
    launched = Launched(finite_study(["4", "8", "16"], n_trials=10))
    assert launched.states["COMPLETE"] == 3, "there are only three points"
    assert len(launched.backend.started) == 3
    assert launched.history.counts.complete == 3


def finite_study(values: Sequence[str], n_trials: int) -> Sweep:
    from sweeps.search.grammar import parse_space

    sweep = study(f"study.n_trials={n_trials}", "study.pruner=none", "study.sampler=random")
    space = parse_space({"model.filters": f"choice({','.join(values)})"})
    return replace(sweep, space=space, identity=sweep.identity | {"space": {"model.filters": list(values)}})


def test_equal_runs_of_a_grid_are_trained_once(root: Path) -> None:
    launched = Launched(grid("model.kernel_size=1,3", "model.conv_layers=0"))
    assert len(launched.backend.started) == 1, "without convolutions, both are the same network"
    assert launched.statuses == {"FINISHED": 2}
    assert launched.states == {"COMPLETE": 2}
    assert sum("convsweep.reused_from" in run.tags for run in launched.runs) == 1
    again = Launched(grid("model.kernel_size=1,3", "model.conv_layers=0"))
    assert again.backend.started == []
    assert again.statuses == {"FINISHED": 2}, "a copy is made once"


def test_the_most_expensive_runs_of_a_grid_start_first(root: Path) -> None:
    launched = Launched(grid("model.filters=4,64,16", seeds=[0, 1]))
    assert [key.split()[0] for key in launched.backend.started] == ["filters=64"] * 2 + ["filters=16"] * 2 + [
        "filters=4"
    ] * 2


def test_conditional_parameters_reach_the_runs(root: Path) -> None:
    launched = Launched(study("study.n_trials=12", "study.pruner=none", "study.sampler=random"))
    for trial in launched.history.completed():
        assert ("model.filters" in trial.params) == (trial.params["model.conv_layers"] > 0)


def test_people_see_what_a_searchs_trial_sets_and_a_grids_label(root: Path) -> None:
    searched = Launched(study("study.n_trials=1", "study.pruner=none")).session.runs["0"][0]
    assert re.fullmatch(r"0 conv_layers=\d .*learning_rate=0\.\d{1,6} seed=0", searched.shown)
    listed, _ = Launched(grid("model.filters=4,8")).session.runs.values()
    assert listed[0].shown == listed[0].key


def test_what_no_config_can_be_fails_alone_and_trains_nothing(root: Path) -> None:
    sweep = study(
        "study.n_trials=12", "study.pruner=none", "study.sampler=random", "model.padding=valid", "model.kernel_size=6"
    )
    launched = Launched(sweep)
    assert launched.states["FAIL"] > 0
    assert launched.states["COMPLETE"] + launched.states["FAIL"] == 12
    failed = next(t for t in launched.history.trials() if t.state == "FAIL")
    assert "window does not fit" in failed.reason
    assert launched.statuses == {"FINISHED": launched.states["COMPLETE"]}


def always(reason: str, key: str, times: int = 99, died: bool = False) -> Callable[[Job, int], Failed | None]:
    return lambda job, nth: Failed(reason, "Traceback ...", died) if key in job.key and nth <= times else None


def test_a_run_that_fails_is_tried_again_and_then_fails_alone(root: Path) -> None:
    launched = Launched(grid("model.filters=4,8", retries=2), FakeBackend(fails=always("no number", "filters=4")))
    assert launched.backend.started.count("filters=4 seed=0") == 3
    assert launched.statuses == {"FAILED": 3, "FINISHED": 1}
    assert launched.states == {"FAIL": 1, "COMPLETE": 1}
    failed = next(run for run in launched.runs if run.status == "FAILED")
    assert failed.tags["convsweep.reason"] == "no number"
    assert "traceback.txt" in [a.path for a in launched.tracker.client.list_artifacts(failed.run_id)]
    again = Launched(grid("model.filters=4,8", retries=2))
    assert again.backend.started == ["filters=4 seed=0"]
    assert again.states == {"FAIL": 1, "COMPLETE": 2}


def test_a_run_that_succeeds_when_tried_again_is_complete(root: Path) -> None:
    launched = Launched(
        grid("model.filters=4,8", retries=1), FakeBackend(fails=always("no luck", "filters=4", times=1))
    )
    assert launched.states == {"COMPLETE": 2}
    assert launched.statuses == {"FAILED": 1, "FINISHED": 2}


def test_a_dead_worker_costs_a_retry_and_a_run_that_kills_workers_ends(root: Path) -> None:
    died = always("its worker died", "filters=4", times=2, died=True)
    launched = Launched(grid("model.filters=4,8"), FakeBackend(fails=died))
    assert launched.states == {"COMPLETE": 2}
    assert launched.statuses == {"KILLED": 2, "FINISHED": 2}
    deadly = always("its worker died", "filters=4", died=True)
    launched = Launched(grid("model.filters=4,8", "trainer.epochs=2", seeds=[5]), FakeBackend(fails=deadly))
    assert launched.backend.started.count("filters=4 seed=5") == 3


def test_a_failed_seed_gives_up_the_other_seeds_of_a_proposed_trial(root: Path) -> None:
    sweep = study("study.n_trials=2", "seeds=[0,1,2,3]", "study.pruner=none", "retries=0")
    launched = Launched(sweep, FakeBackend(1, fails=always("no number", "0 seed=0")))
    assert launched.states == {"FAIL": 1, "COMPLETE": 1}
    assert [key for key in launched.backend.started if key.startswith("0 ")] == ["0 seed=0"]


class Interrupting(FakeBackend):
    """Sends a signal to the process at the nth message."""

    def __init__(self, number: int, sent: int = signal.SIGINT, size: int = 2) -> None:
        super().__init__(size)
        self.number, self.sent = number, sent

    def _next(self, job: Job) -> Any:
        self.number -= 1
        if self.number == 0:
            os.kill(os.getpid(), self.sent)
        return super()._next(job)


@pytest.mark.parametrize("number", [1, 4, 9, 17])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_goes_on_with_the_same_trials(root: Path, number: int, sent: int) -> None:
    def sweep() -> Sweep:
        return study("study.n_trials=6", "study.pruner=none", "trainer.epochs=3")

    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    cut = Launched(sweep(), Interrupting(number, sent), KeyboardInterrupt)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert "RUNNING" not in cut.states
    assert "RUNNING" not in cut.statuses
    assert "FAIL" not in cut.states
    interrupted = [t.params for t in cut.history.study.get_trials() if t.state.name == "WAITING"]
    again = Launched(sweep())
    assert again.states["COMPLETE"] == 6
    assert again.statuses["FINISHED"] == 6
    assert "RUNNING" not in again.states
    assert "WAITING" not in again.states
    complete = [t.params for t in again.history.completed()]
    assert all(params in complete for params in interrupted)
    assert len({run.signature for run in again.runs if run.status == "FINISHED"}) == 6


def test_an_interrupted_grid_goes_on(root: Path) -> None:
    cut = Launched(grid("model.filters=4,8,16,32"), Interrupting(7), KeyboardInterrupt)
    assert "RUNNING" not in {*cut.states, *cut.statuses}
    again = Launched(grid("model.filters=4,8,16,32"))
    assert again.states["COMPLETE"] == 4
    assert again.statuses["FINISHED"] == 4


def test_limits_end_a_study(root: Path) -> None:
    sweep = study("study.n_trials=null", "study.stop_after_no_improvement=4", "study.sampler=random")
    assert Launched(sweep).history.since_best == 4
    sweep = study("study.n_trials=null", "study.timeout=0.000001", "study.name=timed")
    assert Launched(sweep).states == {}
    sweep = study("study.n_trials=1000", "budget=1s", "study.name=budgeted", "study.pruner=none")
    assert 0 < Launched(sweep).states["COMPLETE"] < 200


def test_several_objectives_give_a_pareto_front(root: Path) -> None:
    launched = Launched(
        study("study.objectives={val/accuracy:maximize,parameters:minimize}", "study.pruner=none", "study.n_trials=8")
    )
    assert all(len(t.values) == 2 for t in launched.history.completed())
    assert launched.history.best_trials()[0].values[0] == max(t.values[0] for t in launched.history.completed())


def test_a_resume_into_another_space_base_or_objective_is_refused(root: Path) -> None:
    Launched(study("study.n_trials=1"))
    with pytest.raises(ConfigError, match=r"trainer.epochs: 5 -> 7(.|\n)*study.name=smoke_2"):
        open_study(study("study.n_trials=1", "trainer.epochs=7"))
    with pytest.raises(ConfigError, match=r"model\.filters"):
        open_study(finite_study(["4"], 1))


def test_reused_runs_of_other_sweeps_are_copied_and_linked(root: Path) -> None:
    first = Launched(grid("model.filters=4,8"))
    second = Launched(grid("model.filters=4,8", name="again"))
    assert second.backend.started == []
    assert {run.tags["convsweep.reused_from"] for run in second.runs} == {run.run_id for run in first.runs}
    assert sum(run.tracked is not None for run in second.session.runs["filters=4"]) == 1


def test_ablations_go_the_same_way(root: Path) -> None:
    launched = Launched(compose_ablation("demo", ["store.log_model=none", "seeds=[0,1]"]).sweep)
    assert launched.states == {"COMPLETE": 4}
    assert launched.statuses == {"FINISHED": 8}


def test_the_sampler_never_sees_the_test_set(root: Path) -> None:
    launched = Launched(study("study.n_trials=3", "study.pruner=none"))
    assert not any(name.startswith(("test/", "gap/")) for run in launched.runs for name in run.metrics)
    launched.session.interruption.signal = ""
    runs = _confirm(launched.session, launched.history.best_trials(), [100, 101])
    assert all("test/accuracy" in run.metrics for run in runs)
    assert [run.params["seed"] for run in runs] == ["100", "101"]


def test_identity_is_json_and_ignores_what_changes_no_number(root: Path) -> None:
    assert json.dumps(study("workers=1").identity) == json.dumps(study("workers=2", "retries=5").identity)


def test_the_closed_form_is_what_it_says(root: Path, config: Callable[..., RunConfig]) -> None:
    assert accuracy(config("optimizer.learning_rate=0.01", "seed=0"), 4) == pytest.approx(0.85)


def test_data_sets_of_equal_shape_are_different_runs(root: Path) -> None:
    sweep = compose_multirun(["data=fashion_mnist,mnist", "store.log_model=none", "trainer.epochs=1"], {})
    launched = Launched(sweep)
    assert len(launched.backend.started) == 2
    assert len({run.signature for run in launched.runs}) == 2


def test_an_interval_of_whole_numbers_ends_when_all_are_tried(root: Path) -> None:
    overrides = ["data=digits", "model.padding=same", "data.val_fraction=0.2", "model.filters=int(interval(4,6))"]
    sweep = compose_multirun([*overrides, "store.log_model=none"], {"n_trials": 9, "pruner": "none"})
    launched = Launched(sweep)
    assert launched.states["COMPLETE"] == 3
    assert sum(launched.states.values()) < 200


def test_more_of_a_grid_goes_on_where_less_of_it_ended(root: Path) -> None:
    assert Launched(grid("model.filters=4,8,16", n_trials=1)).states == {"COMPLETE": 1}
    assert Launched(grid("model.filters=4,8,16", n_trials=2)).states == {"COMPLETE": 2}
    assert Launched(grid("model.filters=4,8,16")).states == {"COMPLETE": 3}


def test_schedules_and_their_keys_are_swept(root: Path) -> None:
    assert Launched(grid("optimizer.schedule=constant,cosine", "optimizer.clip_norm=null,1")).states == {"COMPLETE": 4}
    keys = ["optimizer=adam,adamw", "optimizer.warmup_epochs=0,0.5"]
    assert Launched(grid(*keys)).states == {"COMPLETE": 4}
    keys = ["optimizer.schedule=piecewise", "optimizer.boundaries=[1],[2]", "optimizer.factors=[0.1]"]
    assert Launched(grid(*keys)).states == {"COMPLETE": 2}


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.schedule=exponential", "optimizer.decay_rate=0.5,0.9"],
        ["optimizer=sgd,rmsprop", "optimizer.momentum=0.9"],
        ["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0.8,0.9"],
        ["optimizer.schedule=cosine", "optimizer.warmup_epochs=3", "trainer.epochs=4,5"],
    ],
    ids=" ".join,
)
def test_what_goes_together_in_every_trial_need_not_in_the_base(root: Path, overrides: list[str]) -> None:
    assert Launched(grid(*overrides)).states == {"COMPLETE": 2}


def test_of_a_cosine_no_run_waits_for_a_shorter_one(root: Path) -> None:
    epochs = ["trainer.epochs=2,4", "optimizer.schedule=constant,cosine"]
    launched = Launched(grid(*epochs))
    keys = {run.tags["convsweep.resume_key"] for run in launched.runs}
    assert (len(launched.runs), len(keys)) == (4, 3)


def test_points_of_a_decimal_range_are_what_hydra_says(root: Path) -> None:
    overrides = ["data=digits", "model.padding=same", "data.val_fraction=0.2", "model.dropout=range(0,0.5,0.1)"]
    overrides += ["optimizer.learning_rate=interval(0.001,0.002)", "store.log_model=none"]
    settings = {"n_trials": 12, "pruner": "none", "sampler": "random"}
    launched = Launched(compose_multirun(overrides, settings))
    space = launched.sweep.space
    assert space is not None
    dropped = {space.point(t.params)["model.dropout"] for t in launched.history.completed()}
    assert dropped <= {0.0, 0.1, 0.2, 0.3, 0.4}


def test_a_limit_leaves_no_trial_running(root: Path) -> None:
    sweep = study("study.n_trials=500", "seeds=[0,1,2,3]", "study.pruner=none", "study.timeout=0.5")
    launched = Launched(sweep, FakeBackend(1))
    assert "RUNNING" not in {*launched.states, *launched.statuses}
    again = Launched(study("study.n_trials=1", "seeds=[0,1,2,3]", "study.pruner=none"))
    assert again.states["COMPLETE"] >= 1


def test_objectives_in_another_order_or_other_seeds_are_another_search(root: Path) -> None:
    both = "study.objectives={val/accuracy:maximize,val/loss:minimize}"
    Launched(study(both, "study.pruner=none", "study.n_trials=1"))
    turned = "study.objectives={val/loss:minimize,val/accuracy:maximize}"
    with pytest.raises(ConfigError, match="exists with another config"):
        open_study(study(turned, "study.pruner=none"))
    with pytest.raises(ConfigError, match="seeds"):
        open_study(study(both, "study.pruner=none", "seeds=[7]"))


def epochs_grid(*overrides: str, **settings: Any) -> Sweep:
    base = ["data=digits", "model.padding=same", "store.log_model=none", "trainer.epochs=1,2,4"]
    return compose_multirun([*base, *overrides], settings)


def test_runs_that_differ_in_epochs_alone_are_trained_in_turn_the_shortest_first(root: Path) -> None:
    launched = Launched(epochs_grid(seeds=[0, 1]))
    for seed in (0, 1):
        in_turn = [key for key in launched.backend.started if key.endswith(f"seed={seed}")]
        assert in_turn == [f"epochs={epochs} seed={seed}" for epochs in (1, 2, 4)]
    assert launched.statuses == {"FINISHED": 6}
    assert launched.states == {"COMPLETE": 3}
    assert Launched(epochs_grid(seeds=[0, 1])).backend.started == []


def test_models_are_logged_by_workers_once_each_and_failures_are_told(root: Path) -> None:
    launched = Launched(grid("model.filters=4,8", "store.log_model=all", seeds=[0]))
    launched.session.backend = LoggingBackend({launched.runs[0].run_id})
    finished = launched.session.finished
    log_models(launched.session, finished, finished)
    assert launched.session.errors == [f"the model of {launched.runs[0].run_id} is not logged: full"]
    assert sorted(launched.session.backend.done) == sorted(run.run_id for run in launched.runs)


class LoggingBackend(FakeBackend):
    """Logs no model, one at a time; those in `bad` fail."""

    def __init__(self, bad: set[str]) -> None:
        super().__init__(size=1)
        self.bad, self.done = bad, list[str]()

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        job = self.jobs.popleft()
        self.done.append(job.key)
        yield job.key, Failed("full") if job.key in self.bad else Done()


def test_runs_that_stop_at_an_accuracy_are_resumed_in_turn(root: Path) -> None:
    running: list[int] = []

    class Watched(FakeBackend):
        def start(self, job: Job) -> None:
            super().start(job)
            running.append(len(self.jobs))

    launched = Launched(epochs_grid("trainer.stop_at_accuracy=0.99", seeds=[0]), Watched(size=3))
    assert launched.backend.started == [f"epochs={epochs} seed=0" for epochs in (1, 2, 4)], (
        "each continues the one before"
    )
    assert running == [1, 1, 1], "and none trains beside it what it would continue"


def test_a_search_trains_no_two_trials_at_once_that_continue_one_another(root: Path) -> None:
    class Watched(FakeBackend):
        def start(self, job: Job) -> None:
            super().start(job)
            assert len({job.checkpoints.folder for job in self.jobs}) == len(self.jobs)

    told = ["trainer.epochs=int(interval(1,4))", "model.filters=4,8", "data=digits", "model.padding=same"]
    settings = {"n_trials": 8, "pruner": "none", "confirm_seeds": []}
    sweep = compose_multirun([*told, "data.val_fraction=0.2", "store.log_model=none"], settings)
    launched = Launched(sweep, Watched(size=3))
    assert sum(launched.states.values()) >= 8
    assert set(launched.statuses) == {"FINISHED"}


def test_workers_are_told_the_precision_that_was_decided(root: Path) -> None:
    told: list[str] = []

    class Watched(FakeBackend):
        def start(self, job: Job) -> None:
            super().start(job)
            told.append(job.run.config.trainer.precision)

    launched = Launched(grid("model.filters=4,8", seeds=[0]), Watched())
    assert told == [run.tags["convsweep.precision"] for run in launched.runs]
    assert "auto" not in told


def test_what_another_launch_trains_waits_while_others_go_first(root: Path) -> None:
    sweep = grid("optimizer.learning_rate=0.01,0.02,0.03", name="beside")
    hashes = DataHashes(Console(quiet=True))
    hashes.by_source = Everything("data")
    held = resolve((sweep.trials or [])[0].config(0), hashes(sweep.config.data), 1).resume_key
    with Leases(sweep.store, "sweep other") as other, Leases(sweep.store, "sweep beside") as ours:
        assert other.acquire(of_run(held))
        tracker, backend = Tracker(sweep.store), ReleasingBackend(lambda: other.release(of_run(held)))
        parent = tracker.open_sweep(sweep.name, {})
        history, membership = History(open_study(sweep), sweep), Membership(sweep.name, ours)
        session = Session(
            sweep, tracker, parent, history, backend, Console(quiet=True), hashes, Told, membership=membership
        )
        session.train(Grid(sweep, history, ours))
        assert [key.split()[0] for key in backend.started] == [f"learning_rate={rate}" for rate in (0.02, 0.03, 0.01)]
        assert other.table.read() == {}, "claims are given up"
    assert Told.waited == [(1, [str(other.holder)])]
    assert Counter(run.status for run in tracker.children(parent, sweep.name)) == {"FINISHED": 3}


class ReleasingBackend(FakeBackend):
    """Does something once it has nothing to do."""

    def __init__(self, release: Callable[[], object]) -> None:
        super().__init__()
        self.release = release

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        if not self.jobs:
            self.release()
        yield from super().messages(timeout)


class Told(ProgressReporter):
    """Notes what is waited for, once."""

    waited: list[tuple[int, list[str]]] = []  # noqa: RUF012

    def on_elsewhere(self, runs: int, by: list[str]) -> None:
        if runs and (runs, by) not in self.waited:
            self.waited.append((runs, by))


def test_a_run_whose_machine_is_gone_is_tried_again_uncounted(root: Path) -> None:
    def gone(job: Job, starts: int) -> Failed | None:
        return Failed("its node is gone", died=True, uncounted=True) if starts <= 3 else None

    launched = Launched(grid("model.filters=4,8", retries=0, seeds=[0]), FakeBackend(fails=gone))
    assert launched.statuses == {"KILLED": 6, "FINISHED": 2}
    assert launched.states == {"COMPLETE": 2}


def test_workers_that_are_not_there_yet_are_waited_for(root: Path) -> None:
    class Late(FakeBackend):
        asked = 0

        @property
        def idle(self) -> int:
            return super().idle if self.asked > 3 else 0

        def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
            self.asked += 1
            return super().messages(timeout)

    launched = Launched(grid("model.filters=4,8", seeds=[0]), Late())
    assert launched.states == {"COMPLETE": 2}
    assert Launched(grid("model.filters=4,8", seeds=[0]), Late()).backend.started == [], "nothing is waited for"


def test_the_precision_that_workers_have_decides_what_a_run_is(root: Path) -> None:
    def trained_with(precision: str) -> Launched:
        backend = FakeBackend()
        backend.resources = Resources(2, 1, precision)
        return Launched(grid("model.filters=4,8", seeds=[0]), backend)

    for precision in ("float32", "mixed_bfloat16"):
        launched = trained_with(precision)
        assert len(launched.backend.started) == 2, "they are other runs"
    precisions = Counter(run.tags["convsweep.precision"] for run in launched.runs)
    assert precisions == {"float32": 2, "mixed_bfloat16": 2}
