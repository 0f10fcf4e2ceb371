"""What is set for the whole process is put back, also after errors and where several threads call."""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import threading
import warnings

import pytest

from pipeline.system.unchanged import unchanged


def state() -> tuple[object, ...]:
    level = logging.getLogger("mlflow.store.db.utils").level
    return dict(os.environ), list(sys.path), list(warnings.filters), gc.get_threshold(), random.getstate(), level


def change() -> None:
    os.environ["MLFLOW_LOGGING_LEVEL"] = "changed"
    os.environ.pop("HOME", None)
    sys.path.insert(0, "changed")
    warnings.simplefilter("error", ResourceWarning)
    random.seed(5)
    logging.getLogger("mlflow.store.db.utils").setLevel(49)


def test_all_of_it_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "mine")
    before = state()
    with unchanged():
        change()
        with unchanged():  # as where one function calls another
            change()
        assert os.environ["MLFLOW_LOGGING_LEVEL"] == "changed", "the outer one goes on"
    assert state() == before


def fail() -> None:
    with unchanged():
        change()
        raise KeyboardInterrupt


def test_it_is_put_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "mine")
    before = state()
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert state() == before


def test_calls_in_several_threads_share_one_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "mine")
    before, entered, left = state(), threading.Barrier(4), threading.Barrier(4)

    def call(number: int) -> None:
        with unchanged():
            entered.wait()
            change()
            left.wait()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state() == before
