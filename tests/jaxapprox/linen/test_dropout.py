"""Adaptive dropout: keep probabilities, expectation and gradients against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.errors import InvalidRngError
from jax import lax
from oracles import assert_unbiased

from jaxapprox.linen import AdaptiveDropout

Z = np.float32([[-3.0, -0.5, 0.0, 0.25, 1.0, 4.0]])


def keep(z, alpha, beta, rule):
    """The probability to keep a unit, by its definition."""
    t = np.float64(z) * alpha + beta
    return 1 / (1 + np.exp(-t)) if rule == "standout" else np.clip(t, 0, 1)


def outputs(layer, z, count):
    keys = jax.random.split(jax.random.key(0), count)
    return jax.jit(jax.vmap(lambda key: layer.apply({}, z, deterministic=False, rngs={"sample": key})))(keys)


@pytest.mark.parametrize(("rule", "alpha", "beta"), [("standout", 1.5, -0.5), ("released", 0.5, 1.0)])
def test_units_are_kept_as_often_as_the_rule_says(rule, alpha, beta):
    """Whole or not at all, with the rule's probability; a false alarm in 10,000 runs of correct code."""
    layer = AdaptiveDropout(alpha, beta, rule, activation=lambda z: z + 10)
    drawn = np.asarray(outputs(layer, Z, 4000))
    assert np.all((drawn == 0) | (drawn == Z + 10))
    assert_unbiased(drawn, keep(Z, alpha, beta, rule) * (Z + 10), false_alarm=1e-4)


def test_evaluation():
    """Standout's is the expectation; the released variant's is not rescaled."""
    for rule, expected in (("standout", keep(Z, 1, 0, "standout") * np.maximum(Z, 0)), ("released", np.maximum(Z, 0))):
        np.testing.assert_allclose(AdaptiveDropout(rule=rule).apply({}, Z, deterministic=True), expected, rtol=1e-6)


@pytest.mark.parametrize("deterministic", [False, True])
def test_no_gradient_through_the_keep_probability(deterministic):
    """That of the mask, or the keep probability, times that of the activation."""
    layer = functools.partial(AdaptiveDropout().apply, {}, deterministic=deterministic)
    rngs = {"sample": jax.random.key(1)}
    gradient = jax.grad(lambda z: jnp.sum(layer(z, rngs=rngs)))(jnp.asarray(Z))
    factor = layer(jnp.asarray(Z), rngs=rngs) / np.where(Z > 0, Z, 1)
    np.testing.assert_allclose(gradient, np.where(Z > 0, factor, 0), rtol=1e-6)


def test_shares_a_layers_weights_and_needs_its_stream():
    """It has no parameters of its own, keeps the dtype, and gets its key from "sample" alone."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic):
            z = nn.Dense(5, dtype=jnp.bfloat16, name="dense")(x)
            return AdaptiveDropout()(z, deterministic=deterministic)

    variables = Net().init(jax.random.key(0), Z, deterministic=True)
    assert set(variables["params"]) == {"dense"}
    y = Net().apply(variables, Z, deterministic=False, rngs={"sample": jax.random.key(1)})
    assert y.dtype == jnp.bfloat16 and y.shape == (1, 5)
    with pytest.raises(InvalidRngError, match="sample"):
        Net().apply(variables, Z, deterministic=False, rngs={"params": jax.random.key(1)})
    with pytest.raises(ValueError, match=r"^rule must be one of standout, released, got "):
        AdaptiveDropout(rule="magic").apply({}, Z, deterministic=True)


def test_same_under_jit_vmap_scan_and_checkpoint():
    """A key's draw is the same in every transformation."""
    layer, keys = AdaptiveDropout(), jax.random.split(jax.random.key(0), 3)

    @jax.checkpoint
    def draw(key):
        return layer.apply({}, Z, deterministic=False, rngs={"sample": key})

    expected = np.stack([draw(key) for key in keys])
    np.testing.assert_array_equal(jax.jit(jax.vmap(draw))(keys), expected)
    np.testing.assert_array_equal(lax.scan(lambda c, key: (c, draw(key)), 0, keys)[1], expected)
