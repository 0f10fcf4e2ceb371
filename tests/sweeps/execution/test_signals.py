"""Signals are noted for a while in the main thread, and left alone in others."""

from __future__ import annotations

import signal
import threading

import pytest

from sweeps.execution.signals import Interruption, handled_by


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    interruption = Interruption()
    with interruption.noted():
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_sets_none() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def enter() -> None:
        with handled_by(signal.SIG_IGN):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
