"""Ctrl-C and SIGTERM: the run ends where it can be saved."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType


class Stopped(Exception):
    """A signal ended the run; what is done is saved."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Signals:
    """`number` is that of the first Ctrl-C or SIGTERM, 0 before."""

    number = 0


@contextlib.contextmanager
def watched_signals() -> Iterator[Signals]:
    """Notes the first signal, for the block to end when it can; a second one ends the process as usual.

    A process that ignores a signal goes on ignoring it.
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
