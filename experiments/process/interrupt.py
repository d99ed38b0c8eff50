"""Ctrl-C and SIGTERM end a run at the next point where it can be saved."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType


class Stopped(Exception):
    """Raised when a signal has ended the run and what was done by then is saved.

    Attributes:
        exit_code: 128 and the signal's number, as shells have it.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Signals:
    """What has been signalled.

    Attributes:
        number: that of the first SIGINT (Ctrl-C) or SIGTERM; 0 before it.
    """

    number = 0


@contextlib.contextmanager
def watched_signals() -> Iterator[Signals]:
    """Records the first SIGINT or SIGTERM within the block, which is to look at it; a second one ends the process.

    A process that ignores a signal goes on ignoring it. After the block, signals are handled as before it.

    Yields:
        What has been signalled, updated as a signal arrives.
    """
    signals = Signals()
    watched = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in watched}

    def note(number: int, frame: FrameType | None) -> None:
        signals.number = number
        for again in watched:
            signal.signal(again, signal.SIG_DFL)
        line = f"{signal.Signals(number).name}: saving after the steps that are under way; once more to end at once\n"
        os.write(2, line.encode())  # print is not safe within a print that the signal came into

    for number in watched:
        signal.signal(number, note)
    try:
        yield signals
    finally:
        for number in watched:
            signal.signal(number, before[number])
