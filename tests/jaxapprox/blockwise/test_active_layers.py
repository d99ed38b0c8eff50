"""Layers between active sets: against autodiff of dense, masked layers with the draw fixed, and NumPy."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_lsh import build, shared_active_set
from jax import lax
from oracles import assert_unbiased, vectors

from jaxapprox import Sample, bernoulli, importance, systematic, topk, uniform
from jaxapprox.active_layers import Active, adaptively_dropped, dense, dropped, hashed, sampled
from jaxapprox.adaptive_dropout import keep_probability
from jaxapprox.blocks import put

UNITS, INPUTS = 12, 9
KEY = jax.random.key(7)


def operands(batch=1):
    """Parameters in both layouts, and inputs of which some are active."""
    weights, bias = vectors(0, UNITS, INPUTS), vectors(1, 1, UNITS)[0]
    ids = np.array([7, 2, 5, 0], np.int32)
    values = np.abs(vectors(2, batch, 4))
    by_units = {"weights": jnp.asarray(weights), "bias": jnp.asarray(bias)}
    by_inputs = {"kernel": jnp.asarray(weights.T), "bias": jnp.asarray(bias)}
    return by_units, by_inputs, Active(jnp.asarray(ids), jnp.asarray(values))


def spread(values, ids, n):
    """Values at ids among n, zeros elsewhere; unused slots nowhere."""
    return values if ids is None else jnp.zeros((values.shape[0], n)).at[:, ids].set(values, mode="drop")


def assert_is_dense(layer, params, x, weigh):
    """Output and all gradients of `layer`, as arrays of everything, are autodiff's of a dense layer times `weigh`.

    weigh: (dense output, the active output's ids) -> what the layer should answer, for all units.
    """

    @jax.jit
    def pairs(params, x):
        y, pull = layer(params, x)
        y = y if isinstance(y, Active) else Active(None, y)
        full = spread(x.values, x.ids, INPUTS)
        kernel = params["weights"].T if "weights" in params else params["kernel"]

        def reference(kernel, bias, full):
            return weigh(jax.nn.relu(full @ kernel + bias[None]), y.ids)

        g = jnp.asarray(vectors(3, *y.values.shape))
        expected, reference_pull = jax.vjp(reference, kernel, params["bias"], full)
        d_kernel, d_bias, d_full = reference_pull(spread(g, y.ids, UNITS))
        blocks, dx = pull(g)
        gradient = {name: put(jnp.zeros_like(params[name]), block) for name, block in blocks.items()}
        own_kernel = gradient["weights"].T if "weights" in gradient else gradient["kernel"]
        d_values = d_full if x.ids is None else d_full.at[:, x.ids].get(mode="fill", fill_value=0)
        output = spread(y.values, y.ids, UNITS), expected
        return y, [output, (own_kernel, d_kernel), (gradient["bias"], d_bias), (dx, d_values)]

    y, found = pairs(params, x)
    for actual, wanted in found:
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)
    return y


def only(ids, output):
    """Zero but at ids."""
    return jnp.where(jnp.zeros(UNITS, bool).at[ids].set(True, mode="drop")[None], output, 0)


relu = jax.nn.relu


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("active_inputs", [True, False])
def test_dense(batch, active_inputs):
    _, params, x = operands(batch)
    x = x if active_inputs else Active(None, spread(x.values, x.ids, INPUTS))
    layer = functools.partial(dense, activation=relu)
    assert_is_dense(layer, params, x, lambda output, ids: output)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("active_inputs", [True, False])
@pytest.mark.parametrize("size", [4, UNITS])
def test_hashed(batch, active_inputs, size):
    """At any active set the step is that of the masked dense layer; the set is the one that hashing the input finds."""
    params, _, x = operands(batch)
    x = x if active_inputs else Active(None, spread(x.values, x.ids, INPUTS))
    tables = build(jax.random.key(1), params["weights"])

    def layer(params, x):
        return hashed(KEY, params, tables, x, size=size, activation=relu)

    y = assert_is_dense(layer, params, x, lambda output, ids: output if ids is None else only(ids, output))
    if size == UNITS:
        assert y.ids is None
    else:
        full = spread(x.values, x.ids, INPUTS)
        np.testing.assert_array_equal(y.ids, shared_active_set(KEY, tables, full, size=size))


def twice_the_same(key, scores, num_samples):
    """A sampler of a user: with replacement, and its first row fills every second slot."""
    n = scores.shape[0]
    indices = jax.random.randint(key, (num_samples,), 0, n).at[::2].set(3)
    return Sample(indices, jnp.linspace(0.5, 1.5, num_samples))


@pytest.mark.parametrize("sampler", [topk, uniform, bernoulli, systematic, importance, twice_the_same])
def test_sampled(sampler):
    """With the draw fixed: the dense layer of the inputs times the draw's weights, a repeated row's added up."""
    _, params, x = operands(3)
    x = Active(None, spread(x.values, x.ids, INPUTS))
    norms = jnp.linalg.norm(params["kernel"], axis=1)
    scores = jnp.linalg.norm(x.values, axis=0) * norms
    drawn = sampler(KEY, scores, round(0.4 * INPUTS))
    weights = np.zeros(INPUTS, np.float32)
    np.add.at(weights, drawn.indices, drawn.weights)
    y, pull = sampled(KEY, params, norms, x, ratio=0.4, sampler=sampler, activation=relu)
    expected, expected_pull = jax.vjp(
        lambda params, x: relu((x * weights[None]) @ params["kernel"] + params["bias"][None]), params, x.values
    )
    g = jnp.asarray(vectors(3, 3, UNITS))
    blocks, dx = pull(g)
    d_params, d_x = expected_pull(g)
    np.testing.assert_allclose(y.values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, d_x, rtol=1e-5, atol=1e-6)
    for name, block in blocks.items():
        own = put(jnp.zeros_like(params[name]), block)
        np.testing.assert_allclose(own, d_params[name], rtol=1e-5, atol=1e-6)
    kernel_rows = blocks["kernel"].where.rows
    assert blocks["kernel"].values.shape == (len(drawn.indices), UNITS)
    assert len(set(kernel_rows.tolist())) == len(kernel_rows)  # past the last input where a slot is not used
    assert set(kernel_rows[kernel_rows < INPUTS].tolist()) == set(np.flatnonzero(weights).tolist())


def test_sampled_is_unbiased_and_exact_at_ratio_1():
    """Over keys the mean is the exact product, whatever the norms; one false alarm in 10,000. All rows: to the bit."""
    _, params, x = operands()
    x = Active(None, spread(x.values, x.ids, INPUTS) + 0.1)
    norms = jnp.asarray(np.abs(vectors(5, 1, INPUTS)[0]))

    def draw(key, ratio=0.4):
        return sampled(key, params, norms, x, ratio=ratio, sampler=systematic, activation=lambda z: z)[0].values

    exact, _ = dense(params, x, activation=lambda z: z)
    assert_unbiased(jax.jit(jax.vmap(draw))(jax.random.split(KEY, 4000)), exact, false_alarm=1e-4)
    np.testing.assert_array_equal(draw(KEY, 1.0), exact)


@pytest.mark.parametrize("active_inputs", [True, False])
def test_dropped(active_inputs):
    """With the draw fixed: the dense layer, masked and rescaled; and each unit is kept as often as it should be."""
    params, _, x = operands()
    x = x if active_inputs else Active(None, spread(x.values, x.ids, INPUTS))

    def layer(params, x):
        return dropped(KEY, params, x, rate=0.3, activation=relu)

    assert_is_dense(layer, params, x, lambda output, ids: only(ids, output) / 0.7)

    def draw(key):
        y, _ = dropped(key, params, x, rate=0.3, activation=lambda z: z)
        return spread(y.values, y.ids, UNITS)

    exact, _ = dropped(KEY, params, x, rate=0.0, activation=lambda z: z)
    assert_unbiased(jax.jit(jax.vmap(draw))(jax.random.split(KEY, 4000)), exact.values, false_alarm=1e-4)


def test_adaptively_dropped():
    """With the draw fixed: the masked dense layer. Units are kept with their probability, and the first that fit."""
    params, _, x = operands()
    keep = functools.partial(keep_probability, alpha=1.0, beta=0.5)
    layer = functools.partial(adaptively_dropped, KEY, keep=keep, capacity=1.0, activation=relu)
    y = assert_is_dense(layer, params, x, lambda output, ids: only(ids, output))
    cut, _ = adaptively_dropped(KEY, params, x, keep=keep, capacity=0.25, activation=relu)
    np.testing.assert_array_equal(cut.ids, y.ids[:3])

    def draw(key):
        y, _ = adaptively_dropped(key, params, x, keep=keep, capacity=1.0, activation=jnp.ones_like)
        return spread(y.values, y.ids, UNITS)

    z = np.float64(spread(x.values, x.ids, INPUTS)) @ np.float64(params["weights"]).T + np.float64(params["bias"])
    expected = 1 / (1 + np.exp(-z - 0.5))
    assert_unbiased(jax.jit(jax.vmap(draw))(jax.random.split(KEY, 4000)), expected, false_alarm=1e-4)


def test_zero_inputs_and_nan():
    """Inputs of zeros answer the bias, finitely; NaN is not hidden."""
    params, by_inputs, x = operands()
    zeros, nan = (x._replace(values=jnp.full_like(x.values, value)) for value in (0, jnp.nan))
    tables, norms = build(jax.random.key(1), params["weights"]), jnp.ones(INPUTS)

    @jax.jit
    def outputs(x):
        all_inputs = Active(None, spread(x.values, x.ids, INPUTS))
        return (
            hashed(KEY, params, tables, x, size=4, activation=relu)[0],
            sampled(KEY, by_inputs, norms, all_inputs, ratio=0.5, sampler=topk, activation=relu)[0],
            dropped(KEY, params, x, rate=0.5, activation=relu)[0],
        )

    for y, scale in zip(outputs(zeros), (1, 1, 2), strict=True):
        answer = jnp.maximum(params["bias"], 0) * scale
        expected = answer if y.ids is None else answer.at[y.ids].get(mode="fill", fill_value=0)
        np.testing.assert_allclose(y.values[0], expected, rtol=1e-6)
    for y in outputs(nan):
        assert np.any(np.isnan(y.values))


def test_same_under_jit_vmap_scan_and_checkpoint():
    """A layer's output and blocks are the same in every transformation, for keys and for parameters."""
    params, _, x = operands()
    tables, keys = build(jax.random.key(1), params["weights"]), jax.random.split(KEY, 3)

    @jax.checkpoint
    def step(key):
        y, pull = hashed(key, params, tables, x, size=4, activation=relu)
        blocks, dx = pull(y.values)
        return y.ids, put(jnp.zeros((UNITS, INPUTS)), blocks["weights"]), dx

    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *[step(key) for key in keys])
    for actual in (jax.jit(jax.vmap(step))(keys), lax.scan(lambda c, key: (c, step(key)), 0, keys)[1]):
        chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("^ratio must", lambda p, k, x: sampled(KEY, k, jnp.ones(9), x, ratio=0, sampler=topk, activation=relu)),
        ("^x must", lambda p, k, x: sampled(KEY, k, jnp.ones(9), x, ratio=0.5, sampler=topk, activation=relu)),
        ("^sampler must", lambda p, k, x: sampled(KEY, k, None, x, ratio=0.5, sampler="topk", activation=relu)),
        ("^rate must", lambda p, k, x: dropped(KEY, p, x, rate=1.0, activation=relu)),
        ("^x must", lambda p, k, x: dropped(KEY, p, operands(2)[2], rate=0.5, activation=relu)),
        ("^capacity must", lambda p, k, x: adaptively_dropped(KEY, p, x, keep=relu, capacity=0, activation=relu)),
        ("^size must", lambda p, k, x: hashed(KEY, p, build(KEY, p["weights"]), x, size=13, activation=relu)),
    ],
)
def test_bad_arguments_are_named(message, call):
    with pytest.raises(ValueError, match=message):
        call(*operands())
