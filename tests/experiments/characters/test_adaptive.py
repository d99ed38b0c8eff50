"""Kernel gradients from a share of the rows, and which share a layer keeps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import assert_mean, assert_unbiased
from quick_compilation import jit

from experiments.characters.adaptive_dense import dense
from experiments.characters.control import Control, first_levels, measured, work_of

SHARES = (1.0, 0.5, 0.2)
ROWS = 20


def gradients(key, level, x, kernel, g):
    """Of the input and the kernel."""
    return jax.vjp(functools.partial(dense, SHARES, key, level), x, kernel)[1](g)


@pytest.fixture(scope="module")
def product():
    keys = jax.random.split(jax.random.key(0), 4)
    scale = jnp.exp(jax.random.normal(keys[0], (ROWS, 1)))  # rows of different norms
    x, kernel, g = (
        jax.random.normal(key, shape) for key, shape in zip(keys[1:], ((ROWS, 3), (3, 2), (ROWS, 2)), strict=True)
    )
    return scale * x, kernel, g


@pytest.mark.parametrize("level", [0, 1, 2])
def test_estimates_are_right_on_average(product, level):
    """The input gradient is exact at every level, the kernel gradient at the first, and unbiased at the others."""
    x, kernel, g = product
    draws = jit(jax.vmap(lambda key: gradients(key, jnp.int32(level), x, kernel, g)))
    dx, dkernel = draws(jax.random.split(jax.random.key(1), 4_000))
    np.testing.assert_allclose(dx, np.broadcast_to(g @ kernel.T, dx.shape), rtol=1e-5)
    if level == 0:
        np.testing.assert_allclose(dkernel, np.broadcast_to(x.T @ g, dkernel.shape), rtol=1e-5)
    else:
        assert (dkernel[0] != dkernel[1]).any()
        assert_unbiased(dkernel, x.T @ g, false_alarm=1e-6)


def test_levels_change_how_many_rows_are_read():
    """Each row of the kernel gradient is a row of g: as many are there as the share says, and the rest is no number."""
    x, kernel, g = jnp.eye(ROWS), jnp.zeros((ROWS, 2)), jnp.ones((ROWS, 2))
    found = [gradients(jax.random.key(0), jnp.int32(level), x, kernel, g)[1] for level in range(3)]
    assert [int((rows != 0).all(1).sum()) for rows in found] == [20, 10, 4]
    text = jit(gradients).lower(jax.random.key(0), jnp.int32(0), x, kernel, g).as_text()
    assert "stablehlo.case" in text and "tensor<4x2xf32>" in text
    assert not jnp.isnan(gradients(jax.random.key(0), jnp.int32(2), x, kernel, 0 * g)[1]).any()


def test_measurement_is_right_on_average_and_chooses():
    """The batch's variance and what the shares add are those of a constructed case, and each layer keeps what it may.

    A layer's gradient is the mean of the examples times a number. What is added is normal, of a known variance.
    """
    control, batch, draws = Control(SHARES, budget=0.5, every=7), 6, 3_000
    scales = {"a": 1.0, "b": 3.0}
    added = {"a": (0.0, 0.01, 0.02), "b": (0.0, 1.0, 100.0)}  # variances in all, of 2 entries

    def gradient_of(noise, key, tokens):
        found = {}
        for i, (name, scale) in enumerate(scales.items()):
            error = jnp.sqrt(noise[name] / 2) * jax.random.normal(jax.random.fold_in(key, i), (2,))
            found[name] = {"kernel": scale * tokens.mean(0) + error}
        return found

    def measure(key, state):
        data_key, key = jax.random.split(key)
        tokens = jax.random.normal(data_key, (batch, 2))

        def at(levels, key):
            noise = {name: jnp.asarray(added[name])[levels[name]["level"]] for name in scales}
            return gradient_of(noise, key, tokens)

        def exact(tokens, labels):
            return gradient_of(dict.fromkeys(scales, 0.0), key, tokens)

        return measured(control, state, at, exact, key, tokens, tokens)

    levels = {name: {"level": jnp.int32(0)} for name in scales}
    state = first_levels(control, levels)
    found = jit(jax.vmap(measure, (0, None)))(jax.random.split(jax.random.key(3), draws), state)
    # By the rule, an average has 0.3 of the first measurement: it began with 0.
    assert_mean(found.batch / 0.3, [2 / batch, 9 * 2 / batch], false_alarm=1e-6)
    assert_mean(found.added / 0.3, list(added.values()), false_alarm=1e-6)

    def repeat(state, key):
        return measure(key, state), None

    state, _ = jit(lambda state, keys: jax.lax.scan(repeat, state, keys))(
        state, jax.random.split(jax.random.key(4), 30)
    )
    assert {name: int(own["level"]) for name, own in state.levels.items()} == {"a": 2, "b": 1}
    work = work_of(control, state)
    assert [float(work[name].share) for name in scales] == [pytest.approx(0.2), 0.5]
    assert 0 < work["a"].added_variance < work["b"].added_variance < 0.5
    assert control.overhead == 3 / 7
