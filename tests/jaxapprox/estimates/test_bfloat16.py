"""Estimates in bfloat16 are as unbiased and as noisy as in float32, but for what rounding may do.

Each estimate rounds twice, by at most U of the value: an operand times its weight, and the result, whose sum is in
float32. So a mean is off by 2 U times the sum of the magnitudes of its terms at most, with the slack of higher orders.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxapprox import bernoulli, importance, mc_conv, mc_dense, predicted_variance, systematic, uniform

TWICE_U = 2 * 2.0**-8 * 1.05
GEOMETRY = ((2, 1), [(1, 0), (1, 1)], (1, 1))  # strides, padding, dilation


def dense_operands():
    return _as_bfloat16((8, 10), (10, 6), (8, 6))


def conv_operands():
    return _as_bfloat16((4, 5, 4, 6), (3, 2, 6, 5), (4, 2, 5, 5))


def _as_bfloat16(x, kernel, g):
    """x with units of skewed energy, a kernel, and a cotangent of the output."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=x) + 0.5) * np.linspace(0.3, 2, x[-1]), *(rng.normal(size=s) + 0.3 for s in (kernel, g))
    return tuple(jnp.asarray(a, jnp.bfloat16) for a in values)


def exact_dense(x, kernel, g):
    return x @ kernel, g @ kernel.T, x.T @ g


def exact_conv(x, kernel, g):
    return (
        oracles.conv(x, kernel, *GEOMETRY),
        oracles.conv_input_grad(g, kernel, x.shape[1:-1], *GEOMETRY),
        oracles.conv_kernel_grad(x, g, kernel.shape[:-2], *GEOMETRY),
    )


# Operands, oracle, estimate, and how many are drawn: those of a convolution take a CPU long.
DENSE = dense_operands, exact_dense, mc_dense, 2_000
CONV = conv_operands, exact_conv, functools.partial(mc_conv, strides=GEOMETRY[0], padding=GEOMETRY[1]), 500


@functools.partial(jax.jit, static_argnums=(0, 1))
def draws(estimate, count, x, kernel, g):
    """Output, input gradient and kernel gradient, by key."""

    def one(key):
        y, pull = jax.vjp(lambda x, kernel: estimate(key, x, kernel), x, kernel)
        return y, *pull(g)

    return jax.vmap(one)(jax.random.split(jax.random.key(1), count))


def magnitudes(exact, *operands):
    """The sums of the magnitudes of the terms of each sum."""
    return exact(*(np.abs(np.float64(a)) for a in operands))


@pytest.mark.parametrize(
    ("product", "sampler", "mode"),
    [
        *((DENSE, sampler, "forward") for sampler in (uniform, importance, bernoulli, systematic)),
        *((DENSE, systematic, mode) for mode in ("backward", "kernel")),
        *((CONV, sampler, "forward") for sampler in (bernoulli, systematic)),
        *((CONV, systematic, mode) for mode in ("backward", "kernel")),
    ],
    ids=lambda a: a.__name__ if callable(a) else a if isinstance(a, str) else a[1].__name__,
)
def test_unbiased(product, sampler, mode):
    """Output and both gradients, entry by entry and in their common factor. False alarms: 1e-4 over all 10 cases."""
    operands, exact, estimate, count = product
    values = operands()
    found = draws(functools.partial(estimate, ratio=0.6, sampler=sampler, mode=mode), count, *values)
    expected, most = exact(*map(np.float64, values)), magnitudes(exact, *values)
    for samples, mean, bound in zip(found, expected, most, strict=True):
        assert samples.dtype == jnp.bfloat16
        rounding, flat, false_alarm = TWICE_U * bound, np.float64(samples).reshape(count, -1), 1e-4 / 10 / 3 / 2
        oracles.assert_mean(flat, mean, false_alarm, rounding=rounding.max() / np.abs(mean).max())
        along = np.abs(mean).ravel() @ rounding.ravel() / np.sum(mean**2)
        oracles.assert_mean(flat @ mean.ravel(), np.sum(mean**2), false_alarm, rounding=along)


@pytest.mark.parametrize("sampler", [uniform, importance, bernoulli], ids=lambda s: s.__name__)
@pytest.mark.parametrize("product", ["dense", "conv"])
def test_variance_is_the_predicted_one(product, sampler):
    """The forward's mean squared error: with the variance V and rounding of mean square r^2, within (V^1/2 + r)^2.

    False alarms: 1e-4 over all 6 cases.
    """
    operands, exact, estimate, count = DENSE if product == "dense" else CONV
    values = operands()
    x, kernel, _ = map(np.float64, values)
    options = {} if product == "dense" else {"unit": "edge"}
    rows = x if product == "dense" else oracles.patches(x, kernel.shape[:2], *GEOMETRY)
    kernel = kernel.reshape(rows.shape[1], -1)
    size = round(0.6 * rows.shape[1])
    scores = jnp.float32(np.linalg.norm(rows, axis=0) * np.linalg.norm(kernel, axis=1))

    def predicted(rows, kernel):
        gram = jnp.float32((rows.T @ rows) * (kernel @ kernel.T))
        return float(predicted_variance(sampler, scores, size, gram=gram))

    variance = predicted(rows, kernel)
    of_magnitudes = np.sum(magnitudes(exact, *values)[0] ** 2) + predicted(np.abs(rows), np.abs(kernel))
    rounding = TWICE_U * of_magnitudes**0.5
    y = draws(functools.partial(estimate, ratio=0.6, sampler=sampler, **options), count, *values)[0]
    errors = np.sum((np.float64(y) - exact(*map(np.float64, values))[0]) ** 2, tuple(range(1, y.ndim)))
    oracles.assert_mean(errors, variance, 1e-4 / 6, rounding=2 * rounding / variance**0.5 + rounding**2 / variance)
