"""Ctrl-C and SIGTERM: noted, and obeyed where nothing is half written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


class Interruption:
    """Notes a first signal; a second one interrupts at once."""

    def __init__(self) -> None:
        self.signal = ""

    @property
    def is_requested(self) -> bool:
        """Whether there was a signal."""
        return bool(self.signal)

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was a signal."""
        if self.signal:
            raise KeyboardInterrupt(self.signal)

    @contextmanager
    def noted(self) -> Iterator[Self]:
        """Note signals instead of being interrupted by them."""

        def note(number: int, frame: FrameType | None) -> None:
            if self.signal:
                raise KeyboardInterrupt
            self.signal = signal.Signals(number).name

        with handled_by(note):
            yield self


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """Let `handler` have Ctrl-C and SIGTERM for a while, in the main thread; no other one has signals."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
