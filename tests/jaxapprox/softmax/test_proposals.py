"""Candidates: how often each class is drawn against what the proposal says, and against its distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import softmax_oracle as oracle
from oracles import assert_mean
from quick_compilation import jit

from jaxapprox.softmax import by_frequency, draw, in_batch, log_uniform, mixture, uniform

CLASSES, DRAWS = 37, 20_000
FREQUENCIES = np.random.default_rng(0).pareto(1.0, CLASSES) * 100
FREQUENCIES[5] = 0
LOG_UNIFORM = np.log((np.arange(CLASSES) + 2) / (np.arange(CLASSES) + 1))
NO_LABELS = jnp.zeros(1, jnp.int32)
# What is drawn, and the probabilities and number of candidates of which its expected counts are made.
PROPOSALS = {
    "uniform": (uniform(CLASSES, 10), np.ones(CLASSES), 10),
    "uniform, one": (uniform(CLASSES, 1), np.ones(CLASSES), 1),
    "log_uniform": (log_uniform(CLASSES, 10), LOG_UNIFORM, 10),
    "log_uniform, most": (log_uniform(CLASSES, 30), LOG_UNIFORM, 30),  # of the frequent ones each is certain
    "by_frequency": (by_frequency(FREQUENCIES, 10), FREQUENCIES, 10),
    "by_frequency, power": (by_frequency(FREQUENCIES, 10, power=0.5), FREQUENCIES**0.5, 10),
}
ids_of = jit(lambda keys, proposal, labels: jax.vmap(lambda key: proposal.draw(key, labels))(keys))


@pytest.mark.parametrize("name", PROPOSALS)
def test_counts_are_as_expected(name):
    """Each class is drawn min(1, lambda p) times on average: z-tests, of a false alarm of 1e-6 for each proposal."""
    proposal, probabilities, size = PROPOSALS[name]
    ids = np.asarray(ids_of(jax.random.split(jax.random.key(1), DRAWS), proposal, NO_LABELS))
    expected = oracle.expected_counts(probabilities, size)
    assert ids.shape == (DRAWS, size) and ids.dtype == np.int32
    assert ids.min() >= 0 and ids.max() < CLASSES
    actual = oracle.counts(ids, CLASSES)
    assert_mean(actual, expected, 1e-6, rounding=1e-5)
    own = proposal.expected(jnp.arange(CLASSES))
    assert own.dtype == jnp.float32
    np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-7)
    certain = expected > 1 - 1e-9
    assert np.all(actual[:, certain] == 1) and not np.any(actual[:, expected == 0])


@pytest.mark.parametrize(
    "make",
    [
        lambda size: uniform(size, size),
        lambda size: log_uniform(size, size),
        lambda size: by_frequency(1.0 + np.arange(size) ** 3, size),
    ],
)
@pytest.mark.parametrize("classes", [1, 2, 1000])
def test_as_many_candidates_as_classes_are_all_of_them(make, classes):
    """Each once, and certain."""
    proposal = make(classes)
    ids = np.asarray(ids_of(jax.random.split(jax.random.key(0), 3), proposal, NO_LABELS))
    np.testing.assert_array_equal(np.sort(ids, 1), np.tile(np.arange(classes), (3, 1)))
    np.testing.assert_array_equal(proposal.expected(jnp.arange(classes)), 1)


def test_draws_are_stratified():
    """No class of an expected count of 1 or less is drawn three times, and duplicates are rarer than of free draws."""
    ids = np.asarray(ids_of(jax.random.split(jax.random.key(2), 2000), uniform(CLASSES, 18), NO_LABELS))
    assert oracle.counts(ids, CLASSES).max() <= 2
    groups = np.array([len(set(row)) for row in ids.tolist()])
    independent = CLASSES * (1 - (1 - 1 / CLASSES) ** 18)
    assert groups.mean() > independent + 1


@pytest.mark.parametrize("size", [1024, 1_000_000])
def test_every_class_is_reached(monkeypatch, size):
    """Of 1,000,000 classes by Zipf's law too, where a float32 inverse of the distribution never gives 12 % of the ids.

    By the table: every class has a share of the 2^bits equally likely places of its ranges, no two the same one, and
    what is expected of it is that share. The draws of the first and the last place of each range are as by the table.
    """
    classes = 1_000_000
    proposal = log_uniform(classes, size)
    bounds, ranges = np.int64(proposal.bounds), np.int64(proposal.ranges)
    length = bounds[-1] // size
    assert proposal.order is None and length.bit_count() == 1
    shares = np.diff(bounds, prepend=0)
    assert shares.min() > 0
    np.testing.assert_array_equal(ranges, length * np.arange(size))
    every = np.asarray(proposal.expected(jnp.arange(classes)))
    np.testing.assert_array_equal(every, np.float32(shares / length))
    np.testing.assert_allclose(every, oracle.expected_counts(np.log1p(1 / (np.arange(classes) + 1.0)), size), rtol=0.02)
    for bits, place in ((0, 0), (2**32 - 1, length - 1)):
        monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype, bits=bits: jnp.full(shape, bits, dtype))
        expected = np.searchsorted(bounds, ranges + place, side="right")
        np.testing.assert_array_equal(proposal.draw(jax.random.key(0), NO_LABELS), expected)


def test_rare_classes_are_reached():
    """A class that is as good as never there has a share too, and what is expected of it is that; one of 0 has none."""
    frequencies = np.array([1e-30, 1, 0, 1e-300, 5, 1])
    proposal = by_frequency(frequencies, 2)
    shares = np.empty(6)
    shares[np.asarray(proposal.order)] = np.diff(np.int64(proposal.bounds), prepend=0)
    np.testing.assert_array_equal(shares > 0, frequencies > 0)
    np.testing.assert_array_equal(proposal.expected(jnp.arange(6)), np.float32(2 * shares / shares.sum()))


def test_counts_of_ranges():
    """1,024 of 1,000,000 classes: as many of them between two powers of 2 as expected; the false alarm is 1e-6."""
    classes, size = 1_000_000, 1024
    proposal = log_uniform(classes, size)
    ids = np.asarray(ids_of(jax.random.split(jax.random.key(5), 300), proposal, NO_LABELS))
    bounds = 2 ** np.arange(1, 20)
    expected = [part.sum() for part in np.split(np.float64(proposal.expected(jnp.arange(classes))), bounds)]
    own = oracle.counts(np.searchsorted(bounds, ids, "right"), len(bounds) + 1)
    assert_mean(own, expected, 1e-6)


def test_the_batchs_labels():
    """The labels of other examples: each class (batch - 1) frequency times on average, if labels come by frequency.

    The false alarm is 1e-6.
    """
    batch, p = 6, FREQUENCIES / FREQUENCIES.sum()
    proposal = in_batch(FREQUENCIES, batch)
    labels = np.random.default_rng(0).choice(CLASSES, (DRAWS, batch), p=p).astype(np.int32)
    ids = np.stack([proposal.draw(jax.random.key(0), row) for row in labels[:3]])
    np.testing.assert_array_equal(ids, labels[:3])
    expected = np.asarray(proposal.expected(jnp.arange(CLASSES)))
    np.testing.assert_allclose(expected, (batch - 1) * p, rtol=1e-5, atol=1e-9)
    assert_mean(oracle.counts(labels[:, 1:], CLASSES), expected, 1e-6)


def test_mixture_adds_up():
    """All candidates of its parts, each with the sum of what they expect of it; keys are not shared."""
    parts = uniform(CLASSES, 12), uniform(CLASSES, 12), by_frequency(FREQUENCIES, 5), in_batch(FREQUENCIES, 4)
    proposal, labels = mixture(*parts), jnp.array([3, 0, 3, 36], jnp.int32)
    ids = proposal.draw(jax.random.key(0), labels)
    assert ids.shape == (12 + 12 + 5 + 4,)
    assert sorted(ids[-4:].tolist()) == sorted(labels.tolist())
    assert ids[:12].tolist() != ids[12:24].tolist()
    every = jnp.arange(CLASSES)
    np.testing.assert_allclose(proposal.expected(every), sum(part.expected(every) for part in parts), rtol=1e-6)
    labels = np.random.default_rng(0).choice(CLASSES, (DRAWS, 4), p=FREQUENCIES / FREQUENCIES.sum()).astype(np.int32)
    drawn = jit(lambda keys, labels: jax.vmap(proposal.draw)(keys, labels))(
        jax.random.split(jax.random.key(4), DRAWS), labels
    )
    without_own = oracle.counts(np.asarray(drawn), CLASSES) - oracle.counts(labels[:, :1], CLASSES)
    assert_mean(without_own, proposal.expected(every), 1e-6)


@pytest.mark.parametrize("per_example", [False, True])
def test_candidates_of_a_draw(per_example):
    """Shared or each example's own; what is expected of candidates and of labels is the proposal's word on them."""
    proposal, labels = log_uniform(CLASSES, 10), jnp.array([[3, -1], [0, 36]], jnp.int32)
    candidates = draw(jax.random.key(0), proposal, labels, per_example=per_example)
    assert candidates.ids.shape == candidates.expected.shape == ((2, 10) if per_example else (10,))
    assert candidates.ids.dtype == jnp.int32 and candidates.expected.dtype == jnp.float32
    np.testing.assert_array_equal(candidates.expected, proposal.expected(candidates.ids))
    used = labels >= 0
    np.testing.assert_array_equal(candidates.expected_labels[used], proposal.expected(labels[used]))
    if per_example:
        assert candidates.ids[0].tolist() != candidates.ids[1].tolist()


def test_same_under_jit_vmap_and_scan():
    """A proposal passes as an argument, and its draw is the same wherever it is made."""
    proposal, labels = mixture(log_uniform(CLASSES, 5), in_batch(FREQUENCIES, 2)), jnp.array([1, 2], jnp.int32)
    keys = jax.random.split(jax.random.key(0), 3)
    alone = [draw(key, proposal, labels) for key in keys]
    alone = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    mapped = jit(jax.vmap(draw, (0, None, None)))(keys, proposal, labels)
    scanned = jit(
        lambda keys, proposal: jax.lax.scan(lambda carry, key: (carry, draw(key, carry, labels)), proposal, keys)[1]
    )(keys, proposal)
    for other in (mapped, scanned):
        jax.tree.map(np.testing.assert_array_equal, other, alone)
