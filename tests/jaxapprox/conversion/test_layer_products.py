"""The error that is predicted for a layer's product is the one that draws have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxapprox import ALSH, MC, bernoulli, importance, systematic, topk, uniform
from jaxapprox._src.conversion.layer_products import approximate, exact, examples, hash_tables, relative_error, shape_of

_KEYS = 2000
_Z = 4.5  # two-sided, a false alarm in 1.5e5 tests

_PRODUCTS = {
    "dense": ((6, 12), (12, 5), {}),
    "convolution": ((3, 7, 6, 10), (3, 2, 10, 4), dict(strides=(2, 1), padding=[(2, 0), (1, 1)])),
    "dilated, one axis": ((2, 9, 9), (3, 9, 4), dict(padding="VALID", kernel_dilation=2)),
    "1 x 1, three axes": ((2, 3, 2, 3, 11), (1, 1, 1, 11, 3), dict(strides=2)),
}


def _operands(name):
    x_shape, kernel_shape, settings = _PRODUCTS[name]
    rng = np.random.default_rng(0)
    # Rectified, and of unequal size: terms that are neither orthogonal nor alike.
    x = np.maximum(rng.normal(size=x_shape) + 0.5, 0) * np.linspace(0.2, 2, x_shape[-1])
    x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(rng.normal(size=kernel_shape), jnp.float32)
    return shape_of(x, kernel, **settings), x, kernel


def _squared_errors(shape, method, x, kernel):
    """|estimate - exact|^2 / |exact|^2 by key."""
    y = exact(shape, x, kernel)

    def one(key):
        return jnp.sum(jnp.square(approximate(shape, method, key, None, x, kernel) - y)) / jnp.sum(jnp.square(y))

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), _KEYS)), np.float64)


def _predicted(shape, method, x, kernel):
    return relative_error(shape, method, jax.random.key(0), None, x, kernel)


@pytest.mark.parametrize(
    ("name", "unit"), [*((name, "channel") for name in _PRODUCTS), ("convolution", "edge")], ids=str
)
@pytest.mark.parametrize("sampler", [uniform, importance, bernoulli, systematic])
def test_the_error_of_a_forward_estimate(name, unit, sampler):
    shape, x, kernel = _operands(name)
    method = MC(ratio=0.4, sampler=sampler, unit=unit)
    squared = _squared_errors(shape, method, x, kernel)
    predicted = _predicted(shape, method, x, kernel) ** 2
    # Few rows: the approximation behind `systematic` is off by some per cent.
    margin = 0.12 * predicted if sampler is systematic else 0
    assert abs(squared.mean() - predicted) < _Z * squared.std() / np.sqrt(_KEYS) + margin


@pytest.mark.parametrize("unit", ["channel", "edge"])
@pytest.mark.parametrize("name", list(_PRODUCTS)[1:])
@pytest.mark.parametrize("mode", ["forward", "straight_through"])
def test_topk_is_predicted_to_the_rounding(name, unit, mode):
    shape, x, kernel = _operands(name)
    method = MC(ratio=0.4, sampler=topk, unit=unit, mode=mode)
    y = exact(shape, x, kernel)
    off = approximate(shape, method, jax.random.key(3), None, x, kernel) - y
    np.testing.assert_allclose(
        _predicted(shape, method, x, kernel), jnp.linalg.norm(off) / jnp.linalg.norm(y), rtol=1e-4
    )


def test_the_error_of_gradients():
    """Mode "backward": of the input's gradient and the kernel's the one that is off by more."""
    x, kernel = jax.random.normal(jax.random.key(2), (40, 12)), jax.random.normal(jax.random.key(3), (12, 30))
    kernel = kernel * jnp.linspace(0.2, 2, 30)[None, :]
    shape = shape_of(x, kernel)
    method = MC(ratio=0.4, sampler=bernoulli, mode="backward")

    def one(key):
        draw_key, cotangent_key = jax.random.split(key)
        g = jax.random.normal(cotangent_key, (x.shape[0], kernel.shape[1]))
        truth = jax.vjp(functools.partial(exact, shape), x, kernel)[1](g)
        ours = jax.vjp(functools.partial(approximate, shape, method, draw_key, None), x, kernel)[1](g)
        return [(jnp.sum(jnp.square(a - b)), jnp.sum(jnp.square(b))) for a, b in zip(ours, truth, strict=True)]

    errors = [
        np.mean(off) / np.mean(energy)
        for off, energy in jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 4000))
    ]
    # Scores follow each cotangent, the prediction their mean.
    np.testing.assert_allclose(_predicted(shape, method, x, kernel), np.sqrt(max(errors)), rtol=0.02)


@pytest.mark.parametrize("unit", ["channel", "edge"])
def test_gradients_of_convolutions_by_uniform_draws(unit):
    """n / k - 1 of n equal rows, whatever the rows."""
    shape, x, kernel = _operands("convolution")
    rows = 4 if unit == "channel" else 24
    method = MC(ratio=0.5, sampler=uniform, mode="backward", unit=unit)
    examples_kept = round(0.5 * 3)
    expected = max(rows / (rows // 2) - 1, 3 / examples_kept - 1)
    kernel = jnp.ones_like(kernel)
    x = jnp.ones_like(x)
    np.testing.assert_allclose(_predicted(shape, method, x, kernel), np.sqrt(expected), rtol=1e-4)


def test_hashing_is_measured():
    x, kernel = jax.random.normal(jax.random.key(0), (9, 16)), jax.random.normal(jax.random.key(1), (16, 40))
    shape = shape_of(x, kernel)
    key = jax.random.key(2)
    for shared in (False, True):
        method = ALSH(active=0.25, shared=shared)
        tables = hash_tables(jax.random.key(3), method, kernel)
        y = np.asarray(x @ kernel)
        ours = np.asarray(approximate(shape, method, key, tables, x, kernel))
        assert (np.sum(ours != 0, 1) == 10).all()
        error = relative_error(shape, method, key, tables, x, kernel)
        np.testing.assert_allclose(error, np.sqrt(np.sum(y[ours == 0] ** 2) / np.sum(y**2)), rtol=1e-5)


def test_limits():
    shape, x, kernel = _operands("convolution")
    assert _predicted(shape, MC(ratio=1.0), x, kernel) == 0
    assert _predicted(shape, MC(ratio=1.0, mode="backward"), x, kernel) == 0
    assert _predicted(shape, MC(ratio=0.1, min_samples=10), x, kernel) == 0
    assert np.isnan(_predicted(shape, MC(ratio=0.5), jnp.zeros_like(x), kernel))
    assert np.isnan(_predicted(shape, MC(ratio=0.5), x.at[0, 0, 0, 0].set(jnp.nan), kernel))
    half = _predicted(shape, MC(ratio=0.5), x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    np.testing.assert_allclose(half, _predicted(shape, MC(ratio=0.5), x, kernel), rtol=0.02)


@pytest.mark.parametrize("name", _PRODUCTS)
def test_the_exact_product_is_that_of_lax(name):
    shape, x, kernel = _operands(name)
    settings = _PRODUCTS[name][2]
    if kernel.ndim == 2:
        return np.testing.assert_array_equal(exact(shape, x, kernel), x @ kernel)
    spatial = kernel.ndim - 2
    per_axis = [np.broadcast_to(settings.get(k, 1), spatial).tolist() for k in ("strides", "kernel_dilation")]
    axes = lax.ConvDimensionNumbers(
        (0, spatial + 1, *range(1, spatial + 1)),
        (spatial + 1, spatial, *range(spatial)),
        (0, spatial + 1, *range(1, spatial + 1)),
    )
    expected = lax.conv_general_dilated(
        x, kernel, per_axis[0], settings.get("padding", "SAME"), rhs_dilation=per_axis[1], dimension_numbers=axes
    )
    np.testing.assert_array_equal(exact(shape, x, kernel), expected)


def test_batch_axes_become_one():
    kernel = jnp.zeros((3, 3, 4, 5))
    assert examples(jnp.zeros((2, 3, 8, 8, 4)), kernel).shape == (6, 8, 8, 4)
    assert examples(jnp.zeros((8, 8, 4)), kernel).shape == (1, 8, 8, 4)
    assert examples(jnp.zeros((2, 3, 4)), kernel[0, 0]).shape == (6, 4)
