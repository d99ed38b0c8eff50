"""The exact loss in blocks, ranks and the classes of highest score: against NumPy, class by class."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import softmax_oracle as oracle
from oracles import vectors
from quick_compilation import jit

from jaxapprox.softmax import cross_entropy, evaluate, top_k

CLASSES, BATCH, FEATURES = 11, 4, 5
ONE = np.array([3, 10, 0, 3], np.int32)
SEVERAL = np.array([[3, -1, 7], [10, 10, -1], [-1, 0, -1], [1, 2, 10]], np.int32)  # a label twice is twice in the mean


def operands(dtype=jnp.float32, batch=BATCH):
    hidden, weights, bias = vectors(0, batch, FEATURES), vectors(1, CLASSES, FEATURES), vectors(2, 1, CLASSES)[0]
    return tuple(jnp.asarray(a, dtype) for a in (hidden, weights, bias))


@functools.partial(jit, static_argnums=5)
def loss_and_gradients(hidden, weights, bias, labels, g, block_size):
    """The loss, and the gradients of sum(g * loss)."""

    def function(hidden, weights, bias):
        return cross_entropy(hidden, weights, bias, labels, block_size=block_size)

    loss, pull_back = jax.vjp(function, hidden, weights, bias)
    return loss, pull_back(g.astype(loss.dtype))


@functools.partial(jit, static_argnums=4)
def evaluated(hidden, weights, bias, labels, block_size):
    return evaluate(hidden, weights, bias, labels, block_size=block_size)


def check(hidden, weights, bias, labels, block_size, rtol=1e-5):
    g = jnp.linspace(0.5, 2, len(hidden))
    loss, gradients = loss_and_gradients(hidden, weights, bias, labels, g, block_size)
    np.testing.assert_allclose(loss, oracle.loss(hidden, weights, bias, labels), rtol=rtol, atol=rtol)
    expected = oracle.gradients(g, hidden, weights, bias, labels)
    for actual, own, array in zip(gradients, expected, (hidden, weights, bias), strict=True):
        if array is not None:
            assert actual.dtype == array.dtype
            np.testing.assert_allclose(np.float64(actual), own, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("block_size", [1, 4, CLASSES - 1, CLASSES, 8192])
def test_loss_and_gradients(block_size):
    """In blocks of any size, the last of which may have fewer classes; none is counted twice."""
    check(*operands(), ONE, block_size)


@pytest.mark.parametrize("labels", [SEVERAL, np.array([3, -1, 0, -1], np.int32), np.full((BATCH, 2), -1, np.int32)])
def test_any_number_of_labels(labels):
    """The loss is the mean of that of the used labels; that of none is 0, and has a gradient of 0."""
    check(*operands(), labels, 4)


def test_other_inputs():
    """Without a bias, of batch 1, in bfloat16 (sums are in float32), of zeros, and of scores that exp can't take."""
    hidden, weights, bias = operands()
    check(hidden, weights, None, ONE, 4)
    check(hidden[:1], weights, bias, ONE[:1], 4)
    check(*operands(jnp.bfloat16), ONE, 4, rtol=0.01)
    check(0 * hidden, 0 * weights, 0 * bias, ONE, 4)
    check(100 * hidden, 100 * weights, bias, ONE, 4)


def test_nan_stays_with_its_example():
    """A hidden row of NaN gives that example a NaN loss, and no other; NaN in a class's weights gives it to all."""
    hidden, weights, bias = operands()
    g = jnp.ones(BATCH)
    loss, _ = loss_and_gradients(hidden.at[1].set(jnp.nan), weights, bias, ONE, g, 4)
    np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False])
    assert np.all(np.isnan(loss_and_gradients(hidden, weights.at[-1].set(jnp.nan), bias, ONE, g, 4)[0]))


@pytest.mark.parametrize("label", [-2, CLASSES, 2**31 - 1])
def test_labels_out_of_range_under_jit(label):
    """The loss is NaN, and the example's part of the gradient is 0; its rank is the number of classes."""
    hidden, weights, bias = operands()
    g, without = jnp.linspace(0.5, 2, BATCH), np.where(np.arange(BATCH) == 1, -1, ONE)
    labels = jnp.asarray(ONE).at[1].set(label)
    loss, gradients = loss_and_gradients(hidden, weights, bias, labels, g, 4)
    np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False])
    for own, expected in zip(gradients, oracle.gradients(g, hidden, weights, bias, without), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)
    evaluation = evaluated(hidden, weights, bias, labels, 4)
    np.testing.assert_array_equal(np.isnan(evaluation.loss), [False, True, False, False])
    assert evaluation.rank[1] == CLASSES


def test_same_under_vmap_scan_and_checkpoint():
    """Two output layers at once, in a loop and rematerialised are each by itself."""
    hidden, weights, bias = operands()
    both = jnp.stack([weights, 2 * weights])
    g = jnp.linspace(0.5, 2, BATCH)

    @jax.checkpoint
    def of(weights):
        return cross_entropy(hidden, weights, bias, ONE, block_size=4)

    def function(weights):
        loss, pull_back = jax.vjp(of, weights)
        return loss, pull_back(g)

    loss, (d_weights,) = jit(jax.vmap(function))(both)
    for i in range(2):
        np.testing.assert_allclose(loss[i], oracle.loss(hidden, both[i], bias, ONE), rtol=1e-5)
        expected = oracle.gradients(g, hidden, both[i], bias, ONE)[1]
        np.testing.assert_allclose(d_weights[i], expected, rtol=1e-4, atol=1e-6)
    scanned = jit(lambda both: jax.lax.scan(lambda carry, w: (carry, function(w)), 0, both)[1])(both)
    chex.assert_trees_all_close(scanned, (loss, (d_weights,)), rtol=1e-5, atol=1e-6)


def test_scores_of_a_batch_are_never_whole():
    """Compiled for 100,000 classes, loss, gradient and ranks take a quarter of a `(batch, classes)` array at most."""
    batch, classes = 256, 100_000
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((batch, 16), (classes, 16), (classes,))]
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32)

    def step(hidden, weights, bias, labels):
        return jax.value_and_grad(lambda *layer: jnp.sum(cross_entropy(*layer, labels)), (0, 1, 2))(
            hidden, weights, bias
        )

    memory = jax.jit(step).lower(*shapes, labels).compile().memory_analysis()
    assert memory.temp_size_in_bytes < batch * classes * 4 / 4

    def measure(*arguments):
        return evaluate(*arguments), top_k(*arguments[:3], 10)

    memory = jax.jit(measure).lower(*shapes, labels).compile().memory_analysis()
    assert memory.temp_size_in_bytes < batch * classes * 4 / 4


@pytest.mark.parametrize("block_size", [1, 4, CLASSES])
def test_rank_counts_ties_and_nan_against(block_size):
    """Scores of small whole numbers, many of them equal; a class of NaN is above all; a label of NaN is last."""
    rng = np.random.default_rng(0)
    hidden, weights, bias = rng.integers(-1, 2, (20, 3)), rng.integers(-1, 2, (CLASSES, 3)), rng.integers(0, 2, CLASSES)
    hidden, weights, bias = (np.float32(a) for a in (hidden, weights, bias))
    hidden[4], weights[7, 1] = np.nan, np.nan  # 7 in each example, in the fifth all
    labels = np.int32(rng.integers(0, CLASSES, 20))
    labels[:3] = [7, CLASSES - 1, 0]
    evaluation = evaluated(hidden, weights, bias, labels, block_size)
    expected = oracle.rank(oracle.scores(hidden, weights, bias), labels)
    assert evaluation.rank.dtype == np.int32 and expected[0] == expected[4] == CLASSES
    np.testing.assert_array_equal(evaluation.rank, expected)
    weights[7, 1] = 0
    evaluation = evaluated(hidden, weights, bias, labels, block_size)
    np.testing.assert_array_equal(evaluation.rank, oracle.rank(oracle.scores(hidden, weights, bias), labels))
    np.testing.assert_allclose(evaluation.loss, oracle.loss(hidden, weights, bias, labels), rtol=1e-5)


def test_rank_before_training():
    """Where all weights are 0, each label is beaten by all others, and hit by none of its first classes."""
    labels = np.array([[0, 1], [300, -1], [999, 512]], np.int32)
    rank = evaluated(vectors(0, 3, 33), np.zeros((1000, 33), np.float32), None, labels, 300).rank
    np.testing.assert_array_equal(rank, np.where(labels < 0, 1000, 999))


@pytest.mark.parametrize(("k", "block_size"), [(1, 4), (3, 1), (3, 4), (6, 4), (CLASSES, 4), (5, 8192)])
def test_classes_of_highest_score(k, block_size):
    """Their scores, from the highest on, and distinct ids, also where a block has fewer than k classes."""
    hidden, weights, bias = operands()
    values, ids = top_k(hidden, weights, bias, k, block_size=block_size)
    s = oracle.scores(hidden, weights, bias)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, np.argsort(-s, 1)[:, :k])
    np.testing.assert_allclose(values, -np.sort(-s, 1)[:, :k], rtol=1e-5, atol=1e-6)


def test_equal_scores_have_distinct_ids():
    values, ids = top_k(np.zeros((2, 3), np.float32), np.ones((CLASSES, 3), np.float32), None, 9, block_size=4)
    assert not np.any(values)
    assert all(len(set(row)) == 9 for row in np.asarray(ids).tolist())


def test_scores_of_minus_infinity_are_no_class():
    """Two of the classes are left; no other is named, and none twice."""
    bias = np.full(CLASSES, -np.inf, np.float32)
    bias[[2, CLASSES - 1]] = 1, 2
    values, ids = top_k(np.zeros((2, 3), np.float32), np.ones((CLASSES, 3), np.float32), bias, 4, block_size=4)
    np.testing.assert_array_equal(values, [[2, 1, -np.inf, -np.inf]] * 2)
    np.testing.assert_array_equal(np.asarray(ids)[:, :2], [[CLASSES - 1, 2]] * 2)
    assert np.min(np.asarray(ids)[:, 2:]) >= CLASSES
