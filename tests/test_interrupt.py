"""Ctrl-C within a compiled program."""

import signal

import jax
import jax.numpy as jnp
import pytest

from experiments.interrupt import interruptible


@pytest.fixture
def heeding_interrupts():
    """A test suite started in the background may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def call_from_a_program(function):
    """Calls `function` once, from the host callback of a compiled program."""

    @jax.jit
    def program(x):
        jax.debug.callback(lambda _: function(), x)
        return x + 1

    jax.block_until_ready(program(jnp.ones(3)))
    jax.effects_barrier()


def test_interrupt_in_a_callback_is_an_interrupt(heeding_interrupts):
    """Where JAX says that the program failed, the caller sees Ctrl-C; the handler is put back."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        call_from_a_program(lambda: signal.raise_signal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_errors_stay_what_they_are(heeding_interrupts):
    """A program that fails for another reason is no interrupt."""

    def fail():
        raise RuntimeError("not an interrupt")

    with pytest.raises(jax.errors.JaxRuntimeError, match="not an interrupt"), interruptible():
        call_from_a_program(fail)
