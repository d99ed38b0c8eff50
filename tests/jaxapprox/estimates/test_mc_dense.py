"""The Monte-Carlo matrix product: the contract of `mc_conv`, for a dense layer."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax import lax

from jaxapprox import SAMPLERS, bernoulli, importance, mc_dense, predicted_variance, systematic, uniform

UNBIASED = [uniform, importance, bernoulli, systematic]
KEYS = 20_000
modes = pytest.mark.parametrize("mode", ["forward", "backward", "straight_through", "kernel"])


def named(samplers):
    return pytest.mark.parametrize("sampler", list(samplers), ids=lambda s: s.__name__)


def operands(dtype=jnp.float32, leading=(8,)):
    """x with units of skewed energy, a kernel, and a cotangent of the output."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(*leading, 10)) + 0.5) * np.linspace(0.3, 2, 10)
    kernel, g = rng.normal(size=(10, 6)) + 0.3, rng.normal(size=(*leading, 6)) + 0.3
    return tuple(jnp.asarray(a, dtype) for a in (x, kernel, g))


def exact(x, kernel, g):
    x, kernel, g = map(np.float64, (x, kernel, g))
    return x @ kernel, g @ kernel.T, x.T @ g


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def estimates(sampler, mode, ratio, key, x, kernel, g):
    """Output, input gradient and kernel gradient of one estimate (or, by key, of many)."""

    def one(key):
        y, pull = jax.vjp(lambda x, w: mc_dense(key, x, w, ratio=ratio, sampler=sampler, mode=mode), x, kernel)
        return y, *pull(g)

    return jax.vmap(one)(key) if key.ndim else one(key)


@named(SAMPLERS.values())
@modes
def test_everything_kept_is_bit_identical(sampler, mode):
    """ratio 1: output and gradients are those of `x @ kernel`, bit for bit."""
    x, kernel, g = operands()

    @jax.jit  # as the estimate is: XLA rounds a compiled product otherwise than one at top level on some CPUs
    def product(x, kernel, g):
        y, pull = jax.vjp(jnp.matmul, x, kernel)
        return y, *pull(g)

    actual = estimates(sampler, mode, 1.0, jax.random.key(0), x, kernel, g)
    chex.assert_trees_all_equal(actual, product(x, kernel, g))


@named(UNBIASED)
@pytest.mark.parametrize("mode", ["forward", "backward", "kernel"])
def test_unbiased(sampler, mode):
    """Output and both gradients have the exact ones as mean. False alarms: 1e-4 over all 12 cases together."""
    x, kernel, g = operands()
    actual = estimates(sampler, mode, 0.6, jax.random.split(jax.random.key(1), KEYS), x, kernel, g)
    for samples, expected in zip(actual, exact(x, kernel, g), strict=True):
        oracles.assert_unbiased(samples, expected, false_alarm=1e-4 / 36)


@named([uniform, importance, bernoulli])
def test_predicted_variance(sampler):
    """The forward's mean squared error is the predicted one. False alarms: 1e-4 over all 3 cases."""
    x, kernel, g = operands()
    a, b = np.float64(x), np.float64(kernel)
    gram = (a.T @ a) * (b @ b.T)
    predicted = predicted_variance(
        sampler, jnp.asarray(np.sqrt(np.diag(gram)), jnp.float32), 6, gram=jnp.asarray(gram, jnp.float32)
    )
    y = estimates(sampler, "forward", 0.6, jax.random.split(jax.random.key(1), KEYS), x, kernel, g)[0]
    errors = np.sum((np.float64(y) - a @ b) ** 2, (1, 2))
    oracles.assert_mean(errors, predicted, false_alarm=1e-4 / 3, rounding=1e-4)


@named(SAMPLERS.values())
def test_forward_with_the_draw_fixed(sampler):
    """Output and gradients are those of the product with the drawn rows' weights in the kernel."""
    x, kernel, g = operands()
    scores = np.linalg.norm(np.float64(x), axis=0) * np.linalg.norm(np.float64(kernel), axis=1)
    for key in jax.random.split(jax.random.key(2), 3):
        weights = oracles.drawn_weights(sampler, key, scores, 5)[:, None]
        y, dx, dw = exact(x, kernel * weights, g)
        actual = estimates(sampler, "forward", 0.5, key, x, kernel, g)
        for a, e in zip(actual, (y, dx, weights * dw), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)


@named([uniform, importance, bernoulli])
def test_predicted_variance_of_kernel_gradients(sampler):
    """Mode kernel: a sum over examples, drawn by the norms of x. False alarms: 1e-4 over all 3 cases."""
    x, kernel, g = operands()
    a, b = np.float64(x), np.float64(g)
    scores, gram = np.linalg.norm(a, axis=1), (a @ a.T) * (b @ b.T)
    predicted = predicted_variance(sampler, jnp.float32(scores), 5, gram=jnp.float32(gram))
    dw = estimates(sampler, "kernel", 0.6, jax.random.split(jax.random.key(1), KEYS), x, kernel, g)[2]
    errors = np.sum((np.float64(dw) - a.T @ b) ** 2, (1, 2))
    oracles.assert_mean(errors, predicted, false_alarm=1e-4 / 3, rounding=1e-4)


@named(SAMPLERS.values())
def test_kernel_with_the_draw_fixed(sampler):
    """Mode kernel: output and input gradient are exact, the kernel gradient that of examples with their weights."""
    x, kernel, g = operands()
    y, dx, _ = exact(x, kernel, g)
    for key in jax.random.split(jax.random.key(2), 3):
        weights = oracles.drawn_weights(sampler, key, np.linalg.norm(np.float64(x), axis=1), 4)[:, None]
        actual = estimates(sampler, "kernel", 0.5, key, x, kernel, g)
        for a, e in zip(actual, (y, dx, exact(x, kernel, g * weights)[2]), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)


def test_kernel_keeps_sampled_rows_alone():
    """Mode kernel: the backward pass needs 2 of 8 rows of x, and nothing was drawn where the kernel has no tangent."""
    x, kernel, _ = operands()

    def through(x, kernel):
        return mc_dense(jax.random.key(0), jnp.tanh(x), kernel, ratio=0.25, mode="kernel")

    _, pull_back = jax.vjp(functools.partial(through, x), kernel)
    assert {a.shape for a in jax.tree.leaves(pull_back) if a.ndim == 2} == {(2, 10), (2, 1)}  # and weights
    of_x = jax.make_jaxpr(lambda x: jax.linearize(lambda x: through(x, kernel), x)[1](x))(x)
    assert "random_bits" not in str(of_x)
    assert "random_bits" in str(jax.make_jaxpr(jax.grad(lambda kernel: through(x, kernel).sum()))(kernel))


def test_straight_through():
    """The output of forward, the gradients of the exact product."""
    x, kernel, g = operands()
    key = jax.random.key(3)
    y, dx, dw = estimates(systematic, "straight_through", 0.5, key, x, kernel, g)
    np.testing.assert_array_equal(y, estimates(systematic, "forward", 0.5, key, x, kernel, g)[0])
    np.testing.assert_allclose(dx, exact(x, kernel, g)[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dw, exact(x, kernel, g)[2], rtol=1e-4, atol=1e-4)


@modes
def test_leading_axes_are_examples(mode):
    """Any number of leading axes gives what the flattened examples give; none at all is one example."""
    x, kernel, g = operands(leading=(2, 4))
    key = jax.random.key(4)
    flat = estimates(systematic, mode, 0.5, key, x.reshape(8, 10), kernel, g.reshape(8, 6))
    for a, e in zip(estimates(systematic, mode, 0.5, key, x, kernel, g), flat, strict=True):
        np.testing.assert_allclose(a.reshape(e.shape), e, rtol=1e-5, atol=1e-5)
    assert estimates(systematic, mode, 0.5, key, x[0, 0], kernel, g[0, 0])[0].shape == (6,)


@modes
def test_same_under_scan_and_vmap(mode):
    """A key gives one estimate, however it is called."""
    x, kernel, g = operands()
    keys = jax.random.split(jax.random.key(5), 2)
    step = functools.partial(estimates, systematic, mode, 0.5)
    scanned = lax.scan(lambda carry, key: (carry, step(key, x, kernel, g)), 0, keys)[1]
    for a, b, e in zip(scanned, step(keys, x, kernel, g), step(keys[1], x, kernel, g), strict=True):
        np.testing.assert_allclose(a[1], e, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(b[1], e, rtol=1e-4, atol=1e-4)


@modes
def test_corners(mode):
    """bfloat16 keeps its dtype, all-zero input is finite, a NaN in x shows."""
    x, kernel, g = operands(jnp.bfloat16)
    for operand in (x, jnp.zeros_like(x)):
        actual = estimates(systematic, mode, 0.5, jax.random.key(6), operand, kernel, g)
        chex.assert_trees_all_equal_shapes_and_dtypes(actual, (g, x, kernel))
        chex.assert_tree_all_finite(actual)
    y = estimates(systematic, mode, 0.5, jax.random.key(6), x.at[1, 0].set(jnp.nan), kernel, g)[0]
    assert np.any(np.isnan(np.float32(y)))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        *((dict(ratio=r), "ratio") for r in (0, -1, 1.5, float("nan"), "x")),
        *((dict(min_samples=m), "min_samples") for m in (0, 1.5)),
        (dict(mode="both"), "mode"),
        (dict(sampler="uniform"), "sampler"),
        (dict(key=0), "key"),
        (dict(x=jnp.ones((2, 3))), "kernel"),
        (dict(x=jnp.ones(())), "kernel"),
        (dict(x=jnp.ones((2, 4), jnp.int32)), "x"),
        (dict(kernel=jnp.ones((4, 2, 1))), "kernel"),
        (dict(kernel=jnp.ones((4, 2), jnp.bfloat16)), "kernel"),
    ],
    ids=lambda a: a if isinstance(a, str) else next(iter(a)),
)
def test_bad_arguments_are_named(arguments, name):
    """Every bad argument is a ValueError that begins with its name."""
    arguments = {"key": jax.random.key(0), "x": jnp.ones((2, 4)), "kernel": jnp.ones((4, 3)), "ratio": 0.5, **arguments}
    with pytest.raises(ValueError, match=f"^{name} must "):
        mc_dense(arguments.pop("key"), arguments.pop("x"), arguments.pop("kernel"), **arguments)
