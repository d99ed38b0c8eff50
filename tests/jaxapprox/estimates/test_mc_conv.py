"""The Monte-Carlo convolution: exact where it must be, unbiased where it claims to be."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax import lax

from jaxapprox import SAMPLERS, bernoulli, conv, importance, mc_conv, predicted_variance, systematic, uniform

UNBIASED = [uniform, importance, bernoulli, systematic]
GEOMETRY = ((2, 1), [(1, 0), (1, 1)], (1, 1))  # strides, padding, dilation
OPTIONS = dict(strides=GEOMETRY[0], padding=GEOMETRY[1])
SHAPE, WINDOW, FEATURES = (4, 5, 4, 6), (3, 2), 6
KEYS = 4000

units = pytest.mark.parametrize("unit", ["channel", "edge", "block"])
modes = pytest.mark.parametrize("mode", ["forward", "backward", "straight_through", "kernel"])


def named(samplers):
    return pytest.mark.parametrize("sampler", list(samplers), ids=lambda s: s.__name__)


def rows(unit, channels=6):
    """The options for a unit; six channels are three blocks."""
    return dict(unit=unit, block_size=max(1, channels // 3) if unit == "block" else None)


def operands(shape=SHAPE, dtype=jnp.float32, features=FEATURES):
    """x with channels of skewed energy, a kernel, and a cotangent of the output."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) + 0.5) * np.linspace(0.3, 2, shape[-1])
    kernel = rng.normal(size=(*WINDOW, shape[-1], features)) + 0.3
    g = rng.normal(size=oracles.conv(x, kernel, *GEOMETRY).shape) + 0.3
    return tuple(jnp.asarray(a, dtype) for a in (x, kernel, g))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def estimates(sampler, unit, mode, ratio, key, x, kernel, g):
    """Output, input gradient and kernel gradient of one estimate (or, by key, of many)."""

    def one(key):
        options = rows(unit, x.shape[-1]) | OPTIONS
        function = functools.partial(mc_conv, key, ratio=ratio, sampler=sampler, mode=mode, **options)
        y, pull = jax.vjp(lambda x, kernel: function(x, kernel), x, kernel)
        return y, *pull(g)

    return jax.vmap(one)(key) if key.ndim else one(key)


def exact(x, kernel, g):
    """Output and both gradients by the oracle."""
    return (
        oracles.conv(x, kernel, *GEOMETRY),
        oracles.conv_input_grad(g, kernel, x.shape[1:-1], *GEOMETRY),
        oracles.conv_kernel_grad(x, g, kernel.shape[:-2], *GEOMETRY),
    )


@named(SAMPLERS.values())
@units
@modes
def test_everything_kept_is_bit_identical(sampler, unit, mode):
    """ratio 1, and min_samples above n: output and gradients are those of `conv`, bit for bit."""
    x, kernel, g = operands()
    y, pull = jax.vjp(lambda x, w: conv(x, w, **OPTIONS), x, kernel)
    for amount in (dict(ratio=1.0), dict(ratio=0.1, min_samples=1000)):
        options = dict(sampler=sampler, mode=mode, **rows(unit), **amount, **OPTIONS)
        actual, mc_pull = jax.vjp(lambda x, w: mc_conv(jax.random.key(0), x, w, **options), x, kernel)  # noqa: B023
        chex.assert_trees_all_equal((actual, *mc_pull(g)), (y, *pull(g)))


@pytest.mark.parametrize(
    ("sampler", "unit", "mode"),
    [
        *((sampler, "channel", mode) for sampler in UNBIASED for mode in ("forward", "backward")),
        (systematic, "channel", "kernel"),
        (systematic, "edge", "forward"),
        (systematic, "edge", "backward"),
        (bernoulli, "edge", "forward"),
        (importance, "edge", "backward"),
        *((sampler, "block", "forward") for sampler in UNBIASED),
        (systematic, "block", "backward"),
    ],
)
def test_unbiased(sampler, unit, mode):
    """Output and both gradients have the exact ones as mean. False alarms: 1e-4 over all 18 cases together."""
    x, kernel, g = operands()
    keys = jax.random.split(jax.random.key(1), KEYS)
    actual = estimates(sampler, unit, mode, 0.7, keys, x, kernel, g)
    for samples, expected in zip(actual, exact(x, kernel, g), strict=True):
        oracles.assert_unbiased(samples, expected, false_alarm=1e-4 / 54)


@pytest.mark.parametrize(
    ("unit", "mode"),
    [
        *(("channel", mode) for mode in ("forward", "backward", "kernel")),
        ("edge", "backward"),
        *(("block", mode) for mode in ("forward", "backward")),
    ],
)
def test_accelerators_compute_the_same(unit, mode, monkeypatch):
    """What is computed elsewhere than on a CPU is the same estimate, in value and both gradients."""
    arguments = (systematic, unit, mode, 0.5, jax.random.key(1), *operands())
    expected = estimates(*arguments)
    jax.clear_caches()
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *arguments, default, **_: default(*arguments))
    for a, e in zip(estimates(*arguments), expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)
    jax.clear_caches()


def test_edges_are_those_of_the_masked_dense_layer():
    """Appendix B: the edge estimate is the masked dense layer with the drawn edges' weights."""
    rng = np.random.default_rng(3)
    mu, geometry = 5, ((2, 2), "SAME", (1, 1))
    x = jnp.asarray(rng.normal(size=(2, mu, mu, 2)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 2, 3)), jnp.float32)
    p = oracles.patches(x, (3, 3), *geometry)
    scores = np.linalg.norm(p, axis=0) * np.linalg.norm(np.float64(kernel).reshape(18, 3), axis=1)
    key = jax.random.key(4)
    weights = oracles.drawn_weights(systematic, key, scores, 9)
    actual = mc_conv(key, x, kernel, ratio=0.5, strides=2, unit="edge")
    expected = np.float64(x).reshape(2, -1) @ oracles.masked_dense(kernel, mu, *geometry, edge_weights=weights)
    np.testing.assert_allclose(np.reshape(actual, (2, -1)), expected, rtol=1e-4, atol=1e-4)


@units
def test_modes_share_the_draw(unit):
    """straight_through: the output of forward, the gradients of conv. backward: the output of conv."""
    x, kernel, g = operands()
    key = jax.random.key(5)
    y, dx, dw = exact(x, kernel, g)
    forward = estimates(systematic, unit, "forward", 0.5, key, x, kernel, g)
    through = estimates(systematic, unit, "straight_through", 0.5, key, x, kernel, g)
    np.testing.assert_array_equal(through[0], forward[0])
    assert np.abs(through[0] - y).max() > 0.1
    np.testing.assert_allclose(through[1], dx, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(through[2], dw, rtol=1e-4, atol=1e-3)
    backward = estimates(systematic, unit, "backward", 0.5, key, x, kernel, g)
    np.testing.assert_allclose(backward[0], y, rtol=1e-4, atol=1e-4)
    assert np.abs(backward[1] - dx).max() > 0.1
    assert np.abs(backward[2] - dw).max() > 0.1


@named([uniform, importance, bernoulli])
def test_predicted_variance_of_edges(sampler):
    """The forward's mean squared error is that predicted from the patch matrix. False alarms: 1e-4 in all."""
    x, kernel, g = operands()
    p, w = oracles.patches(x, WINDOW, *GEOMETRY), np.float64(kernel).reshape(-1, FEATURES)
    gram = (p.T @ p) * (w @ w.T)
    scores = jnp.asarray(np.sqrt(np.diag(gram)), jnp.float32)
    predicted = predicted_variance(sampler, scores, round(0.7 * len(w)), gram=jnp.asarray(gram, jnp.float32))
    y = estimates(sampler, "edge", "forward", 0.7, jax.random.split(jax.random.key(1), KEYS), x, kernel, g)[0]
    errors = np.sum((np.float64(y) - exact(x, kernel, g)[0]) ** 2, (1, 2, 3, 4))
    oracles.assert_mean(errors, predicted, false_alarm=1e-4 / 3, rounding=1e-4)


@named([uniform, importance, bernoulli])
def test_predicted_variance_of_blocks(sampler):
    """As of edges, from the terms of three blocks of two channels; not exactly by their norms, as scores have it."""
    x, kernel, g = operands()
    p, w = oracles.patches(x, WINDOW, *GEOMETRY), np.float64(kernel).reshape(-1, FEATURES)
    of_block = [np.arange(len(w)) % 6 // 2 == block for block in range(3)]
    terms = np.stack([(p[:, rows] @ w[rows]).reshape(-1) for rows in of_block])
    norms = [np.sqrt(np.sum(np.float64(a) ** 2, axes)) for a, axes in ((x, (0, 1, 2)), (kernel, (0, 1, 3)))]
    scores = np.sqrt(np.sum((norms[0] * norms[1]).reshape(3, 2) ** 2, 1))
    gram = jnp.asarray(terms @ terms.T, jnp.float32)
    predicted = predicted_variance(sampler, jnp.asarray(scores, jnp.float32), 2, gram=gram)
    y = estimates(sampler, "block", "forward", 0.7, jax.random.split(jax.random.key(1), KEYS), x, kernel, g)[0]
    errors = np.sum((np.float64(y) - exact(x, kernel, g)[0]) ** 2, (1, 2, 3, 4))
    oracles.assert_mean(errors, predicted, false_alarm=1e-4 / 3, rounding=1e-4)


@units
@modes
def test_same_under_jit_vmap_scan_and_checkpoint(unit, mode):
    """A key gives one estimate, however it is called."""
    x, kernel, g = operands()
    keys = jax.random.split(jax.random.key(6), 2)
    options = dict(ratio=0.5, mode=mode, **rows(unit), **OPTIONS)

    def step(key):
        loss = jax.checkpoint(lambda x, w: jnp.sum(g * mc_conv(key, x, w, **options)))
        return jax.value_and_grad(loss, argnums=(0, 1))(x, kernel)[1]

    scanned = jax.jit(lambda keys: lax.scan(lambda carry, key: (carry, step(key)), 0, keys)[1])(keys)
    mapped = estimates(systematic, unit, mode, 0.5, keys, x, kernel, g)[1:]
    one = estimates(systematic, unit, mode, 0.5, keys[1], x, kernel, g)[1:]
    for a, b, e in zip(scanned, mapped, one, strict=True):
        np.testing.assert_allclose(a[1], e, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(b[1], e, rtol=1e-4, atol=1e-4)


@units
@modes
@pytest.mark.parametrize(
    ("shape", "dtype"), [(SHAPE, jnp.bfloat16), ((1, 5, 4, 1), jnp.float32)], ids=["bfloat16", "one of each"]
)
def test_corners_are_finite(unit, mode, shape, dtype):
    """bfloat16, batch 1 with one channel, and all-zero input: finite, of the operands' dtype and shape."""
    x, kernel, g = operands(shape, dtype)
    for operand in (x, jnp.zeros_like(x)):
        y, dx, dw = estimates(systematic, unit, mode, 0.5, jax.random.key(7), operand, kernel, g)
        chex.assert_trees_all_equal_shapes_and_dtypes((y, dx, dw), (g, x, kernel))
        chex.assert_tree_all_finite((y, dx, dw))


@units
@modes
def test_nan_shows(unit, mode):
    """A NaN in the middle of x is a NaN in the output: its row, which would be half the time, is always kept."""
    x, kernel, g = operands()
    for key in jax.random.split(jax.random.key(8), 12):  # by programs that other tests have compiled
        y = estimates(systematic, unit, mode, 0.5, key, x.at[1, 2, 2, 0].set(jnp.nan), kernel, g)[0]
        assert np.any(np.isnan(y))


@units
def test_work_shrinks_with_the_ratio(unit):
    """XLA's own count of operations of the compiled forward falls nearly as the ratio does."""
    x, kernel = jnp.ones((4, 16, 16, 32)), jnp.ones((3, 3, 32, 64))

    def flops(ratio):
        call = jax.jit(lambda key, x, w: mc_conv(key, x, w, ratio=ratio, **rows(unit, 24)))
        return call.lower(jax.random.key(0), x, kernel).compile().cost_analysis()["flops"]

    whole = flops(1.0)
    assert flops(0.5) < 0.65 * whole
    assert flops(0.25) < 0.4 * whole


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        *((dict(ratio=r), "ratio") for r in (0, -1, 1.5, float("nan"), "x", True, None)),
        *((dict(min_samples=m), "min_samples") for m in (0, 1.5, True)),
        (dict(unit="pixel"), "unit"),
        (dict(block_size=2), "block_size"),
        (dict(unit="block", block_size=0), "block_size"),
        (dict(unit="block", block_size=3), "block_size"),
        (dict(implementation="xla"), "implementation"),
        (dict(unit="block", implementation="cuda"), "implementation"),
        (dict(unit="block", block_size=1, implementation="pallas"), "implementation"),
        (dict(mode="both"), "mode"),
        (dict(mode=["forward"]), "mode"),
        (dict(unit=["edge"]), "unit"),
        (dict(sampler="uniform"), "sampler"),
        (dict(strides=0), "strides"),
        (dict(padding="FULL"), "padding"),
        (dict(key=0), "key"),
        (dict(key=None), "key"),
        (dict(key=jnp.ones(2)), "key"),
        (dict(key=jax.random.split(jax.random.key(0), 2)), "key"),
        (dict(x=jnp.ones((2, 3))), "x"),
        (dict(x=jnp.ones((2, 5, 5, 2), jnp.int32)), "x"),
        (dict(x=jnp.ones((2, 5, 5, 4))), "kernel"),
        (dict(kernel=jnp.ones((3, 2, 4))), "kernel"),
        (dict(kernel=jnp.ones((3, 3, 2, 4), jnp.bfloat16)), "kernel"),
    ],
    ids=lambda a: a if isinstance(a, str) else "=".join(map(str, next(iter(a.items()))))[:20],
)
def test_bad_arguments_are_named(arguments, name):
    """Every bad argument is a ValueError that begins with its name."""
    key, x, kernel = jax.random.key(0), jnp.ones((2, 5, 5, 2)), jnp.ones((3, 3, 2, 4))
    arguments = {"key": key, "x": x, "kernel": kernel, "ratio": 0.5, **arguments}
    with pytest.raises(ValueError, match=f"^{name} must "):
        mc_conv(arguments.pop("key"), arguments.pop("x"), arguments.pop("kernel"), **arguments)
