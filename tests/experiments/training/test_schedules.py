"""Schedules of the learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.training.schedules import learning_rate

EXPECTED = {
    "constant": lambda peak: lambda step: peak,
    "cosine": lambda peak: optax.cosine_decay_schedule(peak, 20),
    "onecycle": lambda peak: optax.cosine_onecycle_schedule(20, peak, pct_start=0.25),
}


@pytest.mark.parametrize("schedule", EXPECTED)
def test_several_peaks_at_once(schedule):
    """Traced, as where runs that differ in them share a program: each is the schedule of its own."""
    peaks = [0.1, 0.4]

    @jax.jit
    @jax.vmap
    def rates(peak):
        rate = learning_rate(schedule, peak, 20)
        return jax.vmap(lambda step: rate(step) if callable(rate) else rate)(jnp.arange(20))

    for peak, actual in zip(peaks, rates(jnp.array(peaks)), strict=True):
        expected = [EXPECTED[schedule](peak)(step) for step in range(20)]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)
