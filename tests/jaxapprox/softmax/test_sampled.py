"""Sampled losses with the draw fixed: values and gradients against NumPy, and rows against autodiff's dense ones."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import softmax_oracle as oracle
from oracles import vectors
from quick_compilation import jit

from jaxapprox import lsh
from jaxapprox.active_rows import to_blocks
from jaxapprox.lazy import apply_updates, lazy
from jaxapprox.softmax import Candidates, draw, hits, log_uniform, sampled_cross_entropy, sampled_rows, with_hits

CLASSES, BATCH, FEATURES = 13, 4, 5
UNUSED = CLASSES  # an id past the last class
ONE = np.array([3, 12, 0, 3], np.int32)
SEVERAL = np.array([[3, -1, 7], [12, 12, -1], [-1, -1, -1], [1, 2, 12]], np.int32)
# Hits of some examples, duplicates, and slots that are not used.
SHARED = np.array([3, 5, 5, UNUSED, 0, 9, 3, UNUSED], np.int32)
OWN = np.array([[3, 3, 5, 0], [1, 2, 8, UNUSED], [0, 0, 0, 0], [UNUSED, 12, 12, 7]], np.int32)
G = np.array([0.5, -1, 2, 1], np.float32)


def operands(dtype=jnp.float32, batch=BATCH):
    hidden, weights, bias = vectors(0, batch, FEATURES), vectors(1, CLASSES, FEATURES), vectors(2, 1, CLASSES)[0]
    return tuple(jnp.asarray(a, dtype) for a in (hidden, weights, bias))


def candidates_of(ids, labels):
    """With expected counts that each class has; of a label too."""
    expected = np.append(np.linspace(0.1, 1, CLASSES), 1).astype(np.float32)
    return Candidates(*map(jnp.asarray, (ids, expected[ids], expected[labels])))


@functools.partial(jit, static_argnames="correct_labels")
def both_ways(hidden, weights, bias, labels, candidates, g, correct_labels=False):
    """Loss and gradients (hidden, weights, bias) by rows, and by autodiff."""
    loss, pull_back = sampled_rows(hidden, weights, bias, labels, candidates, correct_labels=correct_labels)
    by_rows = loss, pull_back(g)

    def function(hidden, weights, bias):
        return sampled_cross_entropy(hidden, weights, bias, labels, candidates, correct_labels=correct_labels)

    loss, pull_back = jax.vjp(function, hidden, weights, bias)
    return by_rows, (loss, pull_back(g.astype(loss.dtype)))


def check(hidden, weights, bias, labels, ids, correct_labels=False, rtol=1e-5):
    candidates = candidates_of(ids, labels)
    g = jnp.asarray(G[: len(hidden)])
    w = oracle.class_weights(
        CLASSES, labels, ids, candidates.expected, candidates.expected_labels if correct_labels else None
    )
    expected_loss = oracle.loss(hidden, weights, bias, labels, w)
    expected = oracle.gradients(g, hidden, weights, bias, labels, w)
    (loss, (d_hidden, rows)), (loss_too, dense) = both_ways(
        hidden, weights, bias, labels, candidates, g, correct_labels=correct_labels
    )
    for own in (loss, loss_too):
        np.testing.assert_allclose(own, expected_loss, rtol=rtol, atol=rtol)
    for own in ((d_hidden, *oracle.dense(rows, CLASSES)), dense):
        for actual, right, array in zip(own, expected, (hidden, weights, bias), strict=True):
            if array is not None:
                np.testing.assert_allclose(np.float64(actual), right, rtol=rtol, atol=2 * rtol)
    for own, array in zip((d_hidden, *dense[1:]), (hidden, weights, bias), strict=True):
        assert own is None or own.dtype == array.dtype


@pytest.mark.parametrize("correct_labels", [False, True])
@pytest.mark.parametrize("ids", [SHARED, OWN], ids=["shared", "own"])
@pytest.mark.parametrize("labels", [ONE, SEVERAL], ids=["one", "several"])
def test_loss_and_gradients(labels, ids, correct_labels):
    """Hits are dropped for the examples whose labels they are, duplicates count as often as they are there."""
    check(*operands(), labels, ids, correct_labels)


def test_other_inputs():
    """Without a bias, of batch 1, in bfloat16 (sums are in float32), of zeros, and of scores that exp can't take."""
    hidden, weights, bias = operands()
    check(hidden, weights, None, ONE, SHARED)
    check(hidden[:1], weights, bias, ONE[:1], SHARED)
    check(*operands(jnp.bfloat16), ONE, SHARED, rtol=0.02)
    check(0 * hidden, 0 * weights, 0 * bias, ONE, SHARED)
    check(100 * hidden, 100 * weights, bias, ONE, SHARED)


def test_no_candidate_but_hits():
    """The label alone: a loss of 0 and gradients of 0."""
    labels, hits = ONE[:1], np.array([3, 3, UNUSED], np.int32)
    hidden, weights, bias = operands(batch=1)
    check(hidden, weights, bias, labels, hits)
    assert not np.any(both_ways(hidden, weights, bias, labels, candidates_of(hits, labels), jnp.asarray(G[:1]))[0][0])


def test_what_is_expected_0_times_is_left_out():
    """As a label of the batch whose frequency is said to be 0: no loss is infinite, and no gradient NaN."""
    hidden, weights, bias = operands()
    ids, expected = jnp.array([5, 9, 7]), jnp.array([0.0, 0.5, 0.25])
    w = oracle.class_weights(CLASSES, ONE, ids[1:], expected[1:])
    (loss, (d_hidden, rows)), (loss_too, dense) = both_ways(
        hidden, weights, bias, ONE, Candidates(ids, expected), jnp.asarray(G)
    )
    for own in (loss, loss_too):
        np.testing.assert_allclose(own, oracle.loss(hidden, weights, bias, ONE, w), rtol=1e-5)
    right = oracle.gradients(G, hidden, weights, bias, ONE, w)
    for own in ((d_hidden, *oracle.dense(rows, CLASSES)), dense):
        for actual, expected in zip(own, right, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_what_is_not_used_is_not_read():
    """NaN in the last class's weights: what a slot reads that is not used, neither loss nor gradient of others feel."""
    hidden, weights, bias = operands()
    weights, bias = weights.at[-1].set(jnp.nan), bias.at[-1].set(jnp.nan)
    labels = np.array([[3, -1], [5, 0], [-1, 0], [3, -1]], np.int32)
    candidates = candidates_of(SHARED, labels)
    for loss, gradients in both_ways(hidden, weights, bias, labels, candidates, jnp.asarray(G)):
        assert np.all(np.isfinite(loss))
        for leaf in jax.tree.leaves(gradients):
            assert np.all(np.isfinite(leaf))


def test_nan_stays_with_its_example():
    """NaN in an example's input, or in its label's weights, makes its loss NaN, and no other's."""
    hidden, weights, bias = operands()
    candidates = candidates_of(np.array([5, 9], np.int32), ONE)
    (loss, _), _ = both_ways(hidden.at[1].set(jnp.nan), weights, bias, ONE, candidates, jnp.asarray(G))
    np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False])
    (loss, _), _ = both_ways(hidden, weights.at[3].set(jnp.nan), bias, ONE, candidates, jnp.asarray(G))
    np.testing.assert_array_equal(np.isnan(loss), [True, False, False, True])


@pytest.mark.parametrize("label", [-2, CLASSES, 2**31 - 1])
def test_labels_out_of_range_under_jit(label):
    """The loss is NaN, the example moves no weights, and others are as they were; a negative label wraps to nothing."""
    hidden, weights, bias = operands()
    labels = jnp.asarray(ONE).at[1].set(label)
    candidates = candidates_of(np.array([5, 9], np.int32), ONE)
    (loss, (d_hidden, rows)), (loss_too, dense) = both_ways(hidden, weights, bias, labels, candidates, jnp.asarray(G))
    without = np.where(np.arange(BATCH) == 1, -1, ONE)
    w = oracle.class_weights(CLASSES, without, candidates.ids, candidates.expected)
    expected = oracle.loss(hidden, weights, bias, without, w)
    expected[1] = np.nan
    for own in (loss, loss_too):
        np.testing.assert_allclose(own, expected, rtol=1e-5)
    expected = oracle.gradients(G, hidden, weights, bias, without, w)
    assert all(np.min(gradient.ids) >= 0 for gradient in rows)
    for own in ((d_hidden, *oracle.dense(rows, CLASSES)), dense):
        for actual, right in zip(own, expected, strict=True):
            np.testing.assert_allclose(actual, right, rtol=1e-4, atol=1e-6)


def adagrad_by_hand(weights, bias, d_weights, d_bias, rate, initial, eps):
    """One step of Adagrad on dense gradients, each already summed: its square is of the sum."""
    steps = []
    for array, gradient in ((weights, d_weights), (bias, d_bias)):
        array, gradient = np.float64(array), np.float64(gradient)
        steps.append(array - rate * gradient / np.sqrt(initial + gradient**2 + eps))
    return steps


@pytest.mark.parametrize("ids", [SHARED, OWN], ids=["shared", "own"])
def test_adagrad_squares_the_sum_of_duplicates(ids):
    """A class that is label of two examples and twice a candidate gets one step, of the sum of its gradients."""
    hidden, weights, bias = operands()
    candidates = candidates_of(ids, ONE)
    optimizer = lazy(optax.adagrad(0.1, initial_accumulator_value=0.1, eps=1e-7))

    def step(params):
        _, pull_back = sampled_rows(hidden, params["weights"], params["bias"], ONE, candidates)
        _, rows = pull_back(jnp.asarray(G))
        updates, _ = optimizer.update(to_blocks(rows, CLASSES), optimizer.init(params))
        return apply_updates(params, updates)

    params = jit(step)({"weights": weights, "bias": bias})
    w = oracle.class_weights(CLASSES, ONE, ids, candidates.expected)
    _, d_weights, d_bias = oracle.gradients(G, hidden, weights, bias, ONE, w)
    expected = adagrad_by_hand(weights, bias, d_weights, d_bias, 0.1, 0.1, 1e-7)
    np.testing.assert_allclose(params["weights"], expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(params["bias"], expected[1], rtol=1e-4, atol=1e-6)


def test_same_under_vmap_scan_and_checkpoint():
    """Draws for two keys at once, in a loop and rematerialised are those of each key."""
    hidden, weights, bias = operands()
    keys, proposal = jax.random.split(jax.random.key(0), 2), log_uniform(CLASSES, 6)

    def step(key):
        candidates = draw(key, proposal, ONE)
        of = jax.checkpoint(lambda hidden: sampled_cross_entropy(hidden, weights, bias, ONE, candidates))
        loss, pull_back = jax.vjp(of, hidden)
        d_hidden, rows = sampled_rows(hidden, weights, bias, ONE, candidates)[1](jnp.asarray(G))
        return loss, pull_back(jnp.asarray(G))[0], d_hidden, rows

    alone = [jit(step)(key) for key in keys]
    alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    mapped = jit(jax.vmap(step))(keys)
    scanned = jit(lambda keys: jax.lax.scan(lambda carry, key: (carry, step(key)), 0, keys)[1])(keys)
    for other in (mapped, scanned):
        chex.assert_trees_all_close(other, alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(alone[1], alone[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("hashed", [False, True])
def test_a_step_is_small_at_a_million_classes(hashed):
    """A donated step of batch 256 holds at most 200 MB besides weights and state, by the compiler's account."""
    classes, batch, features = 1_000_000, 256, 128
    optimizer = lazy(optax.adagrad(0.1))
    proposal = log_uniform(classes, 1024)

    def step(carry, keys, proposal, tables, hidden, labels):
        params, state = carry
        candidates = draw(keys[0], proposal, labels)
        if hashed:
            candidates = with_hits(candidates, hits(keys[1], tables, hidden[:16]), classes)
        loss, pull_back = sampled_rows(hidden, params["weights"], params["bias"], labels, candidates)
        d_hidden, rows = pull_back(jnp.full_like(loss, 1 / batch))
        updates, state = optimizer.update(to_blocks(rows, classes), state)
        return (apply_updates(params, updates), state), loss, d_hidden

    def arguments():
        params = {"weights": jnp.zeros((classes, features)), "bias": jnp.zeros(classes)}
        keys = jax.random.split(jax.random.key(0))
        tables = lsh.build(keys[0], params["weights"], bias=params["bias"], num_bits=16)
        examples = params["weights"][:batch], jnp.zeros(batch, int)
        return (params, optimizer.init(params)), keys, proposal, tables, *examples

    compiled = jax.jit(step, donate_argnums=0).lower(*jax.eval_shape(arguments)).compile()
    memory = compiled.memory_analysis()
    other = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    assert other <= 200e6


def test_rows_alone_are_cast_to_the_dtype_of_hidden():
    """Float32 weights and a bfloat16 hidden: float32 losses and gradients, and no copy of all weights."""
    hidden, weights, labels = jnp.ones((4, 64), jnp.bfloat16), jnp.ones((20_000, 64)), jnp.arange(4)

    def loss_and_gradients(hidden, weights):
        candidates = draw(jax.random.key(0), log_uniform(20_000, 32), labels)
        loss, pull = sampled_rows(hidden, weights, None, labels, candidates)
        return loss, to_blocks(pull(loss)[1], 20_000)

    loss, blocks = jax.eval_shape(loss_and_gradients, hidden, weights)
    assert loss.dtype == blocks["weights"].values.dtype == jnp.float32
    compiled = jax.jit(loss_and_gradients).lower(hidden, weights).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < weights.size
