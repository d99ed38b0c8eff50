"""What the sampled losses estimate: the partition sum, and the bias of loss and gradient as candidates grow.

Statistical tests have fixed keys and a false alarm of 1e-6 or less each.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import softmax_oracle as oracle
from oracles import assert_mean, assert_unbiased, vectors
from quick_compilation import jit
from scipy import stats

from jaxapprox.softmax import (
    Candidates,
    by_frequency,
    draw,
    in_batch,
    log_uniform,
    mixture,
    sampled_cross_entropy,
    uniform,
)

CLASSES, BATCH, FEATURES, DRAWS = 29, 3, 4, 20_000
HIDDEN, WEIGHTS, BIAS = vectors(0, BATCH, FEATURES), vectors(1, CLASSES, FEATURES), vectors(2, 1, CLASSES)[0]
LABELS = np.array([2, 0, 28], np.int32)
FREQUENCIES = np.random.default_rng(0).pareto(1.0, CLASSES) + 0.05
SCORES = oracle.scores(HIDDEN, WEIGHTS, BIAS)
EXACT = oracle.loss(HIDDEN, WEIGHTS, BIAS, LABELS)
LABEL_SCORES = SCORES[np.arange(BATCH), LABELS]


def losses_and_gradients(keys, proposal, per_example, correct_labels):
    """Of each draw: losses `(draws, batch)`, and the gradients of their mean in hidden and weights."""

    def of(key):
        candidates = draw(key, proposal, LABELS, per_example=per_example)

        def function(hidden, weights):
            loss = sampled_cross_entropy(hidden, weights, BIAS, LABELS, candidates, correct_labels=correct_labels)
            return jnp.mean(loss), loss

        gradients, loss = jax.grad(function, (0, 1), has_aux=True)(jnp.asarray(HIDDEN), jnp.asarray(WEIGHTS))
        return loss, gradients

    return jax.vmap(of)(keys)


def drawn(proposal, per_example=False, correct_labels=False, draws=DRAWS, seed=0):
    keys = jax.random.split(jax.random.key(seed), draws)
    return jit(losses_and_gradients, static_argnums=(2, 3))(keys, proposal, per_example, correct_labels)


PROPOSALS = {
    "uniform": uniform(CLASSES, 6),
    "log_uniform": log_uniform(CLASSES, 6),
    "by_frequency": by_frequency(FREQUENCIES, 6),
    "mixture": mixture(uniform(CLASSES, 3), by_frequency(FREQUENCIES, 4)),
}


@pytest.mark.parametrize("name", PROPOSALS)
def test_partition_sum_is_unbiased_and_the_loss_is_low(name):
    """Labels of weight 1, negatives of 1 / expected, hits dropped: exp(loss + label's score) is right on average."""
    loss, _ = drawn(PROPOSALS[name])
    partition = np.exp(np.float64(loss) + LABEL_SCORES)
    assert_unbiased(partition, np.exp(EXACT + LABEL_SCORES), 1e-6)
    assert_low(loss, EXACT)


def assert_low(loss, exact):
    """The mean over draws is below the exact loss, by more than a z-test of error rate 1e-6 gives to chance."""
    loss = np.float64(loss)
    error = loss.std(0, ddof=1) / np.sqrt(len(loss))
    assert np.all(loss.mean(0) + stats.norm.isf(1e-6 / len(exact)) * error < exact)


def test_partition_sum_is_unbiased_with_candidates_for_each_example():
    loss, _ = drawn(PROPOSALS["by_frequency"], per_example=True)
    assert_unbiased(np.exp(np.float64(loss) + LABEL_SCORES), np.exp(EXACT + LABEL_SCORES), 1e-6)
    assert abs(np.corrcoef(np.float64(loss).T)[0, 1]) < 5 / np.sqrt(DRAWS)  # examples have no candidate in common


def test_partition_sum_is_unbiased_with_the_batchs_labels():
    """Over batches whose other labels come by frequency, each example's own label being what it is."""
    batch = 8
    proposal, own = in_batch(FREQUENCIES, batch), jnp.full(1, 2, jnp.int32)

    def of(others):
        labels = jnp.concatenate([own, others])
        candidates = draw(jax.random.key(0), proposal, labels)
        hidden = jnp.concatenate([HIDDEN[:1]] * batch)
        return sampled_cross_entropy(hidden, WEIGHTS, BIAS, labels, candidates)[0]

    p = FREQUENCIES / FREQUENCIES.sum()
    others = np.random.default_rng(1).choice(CLASSES, (DRAWS, batch - 1), p=p).astype(np.int32)
    loss = np.float64(jit(jax.vmap(of))(others))
    assert_mean(np.exp(loss + LABEL_SCORES[0])[:, None], np.exp(EXACT + LABEL_SCORES)[:1], 1e-6)


def gradient_bias(proposal, correct_labels):
    """The relative error of the mean gradients in hidden and weights over draws, and that of the mean loss."""
    loss, gradients = drawn(proposal, correct_labels=correct_labels, draws=4000)
    expected = oracle.gradients(np.full(BATCH, 1 / BATCH), HIDDEN, WEIGHTS, BIAS, LABELS)
    errors = [
        np.linalg.norm(np.float64(own).mean(0) - exact) / np.linalg.norm(exact)
        for own, exact in zip(gradients, expected[:2], strict=True)
    ]
    return [np.mean(EXACT - np.float64(loss).mean(0)), *errors]


def test_bias_shrinks_as_candidates_grow():
    """Of the loss and of both gradients, down to rounding where every class is a candidate; for either estimator.

    Correcting the labels too is another estimator: to a label that is expected e < 1 times it gives a weight of 1 / e,
    though it is always there, so that its bias is the larger one until e is 1.
    """
    sizes = 4, 12, CLASSES
    bias = {
        correct: np.array([gradient_bias(by_frequency(FREQUENCIES, size), correct) for size in sizes])
        for correct in (False, True)
    }
    for table in bias.values():
        assert np.all(np.diff(table, axis=0) < 0)
        assert np.all(table[-1] < 1e-5)
    assert np.all(bias[False][:-1] < bias[True][:-1])


def test_correcting_labels_too_leaves_equal_counts_out():
    """Where all classes are expected as often, the loss is that of the scores as they are of label and candidates."""
    labels = jnp.array([2, 0, 28], jnp.int32)
    candidates = Candidates(jnp.array([1, 5, 7]), jnp.full(3, 0.2), jnp.full(3, 0.2))
    loss = jit(lambda c: sampled_cross_entropy(HIDDEN, WEIGHTS, BIAS, labels, c, correct_labels=True))(candidates)
    chosen = np.concatenate([LABEL_SCORES[:, None], SCORES[:, [1, 5, 7]]], 1)
    np.testing.assert_allclose(loss, np.log(np.exp(chosen).sum(1)) - LABEL_SCORES, rtol=1e-5)


@pytest.mark.parametrize("correct_labels", [False, True])
@pytest.mark.parametrize("make", [uniform, log_uniform])
def test_exact_where_all_classes_are_candidates(make, correct_labels):
    """Equal to the exact loss and gradient but for rounding, in any draw."""
    loss, gradients = drawn(make(CLASSES, CLASSES), correct_labels=correct_labels, draws=3)
    expected = oracle.gradients(np.full(BATCH, 1 / BATCH), HIDDEN, WEIGHTS, BIAS, LABELS)
    for i in range(3):
        np.testing.assert_allclose(loss[i], EXACT, rtol=1e-5)
        for own, exact in zip(gradients, expected[:2], strict=True):
            np.testing.assert_allclose(own[i], exact, rtol=1e-4, atol=1e-6)


def test_not_exact_with_replacement():
    """As many independent draws as classes, each of expected count 1, miss a third of them and are off by percents."""
    rng = np.random.default_rng(0)

    def of(ids):
        return sampled_cross_entropy(HIDDEN, WEIGHTS, BIAS, LABELS, Candidates(ids, jnp.ones(CLASSES), None))

    loss = jit(jax.vmap(of))(np.int32(rng.integers(0, CLASSES, (5000, CLASSES))))
    assert np.median(np.abs(np.float64(loss) - EXACT)) > 0.05
    assert_low(loss, EXACT)
