"""Ctrl-C and SIGTERM, noted for a run to end when it can."""

import signal

import pytest

from experiments.process.interrupt import Stopped, watched_signals


@pytest.fixture
def heeding_interrupts():
    """A test suite started in the background may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted(heeding_interrupts, number, capfd):
    """With a line on stderr; a second one would end the process, and after the block all is as before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with watched_signals() as signals:
        assert signals.number == 0
        signal.raise_signal(number)
        assert signals.number == number
        assert all(signal.getsignal(n) == signal.SIG_DFL for n in (signal.SIGINT, signal.SIGTERM))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert capfd.readouterr().err.startswith(f"{number.name}: saving")
    assert Stopped(number).exit_code == 128 + number


def test_ignored_signals_stay_ignored():
    """As of a program that was started by nohup."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watched_signals() as signals:
            signal.raise_signal(signal.SIGINT)
            assert signals.number == 0
    finally:
        signal.signal(signal.SIGINT, before)
