"""What a sampler proposes after a process died."""

from __future__ import annotations

from pathlib import Path

from sweeps.config.study import compose_study
from sweeps.search.history import History
from sweeps.search.proposers import Sampler
from sweeps.search.storage import open_study
from sweeps.sweep import Sweep

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


def sampler(sweep: Sweep) -> Sampler:
    return Sampler(sweep, History(open_study(sweep), sweep))


def test_what_a_process_left_open_waits_to_be_proposed_again(root: Path) -> None:
    sweep = compose_study("smoke", [])
    first = sampler(sweep).next()
    assert first is not None
    again = sampler(sweep)
    again.close_abandoned()
    second = again.next()
    assert second is not None
    assert second.params == first.params
    assert [t.state.name for t in again.study.trials] == ["RUNNING"]
    assert again.history.counts.finished == 0
