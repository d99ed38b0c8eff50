"""Candidates by hashing: which classes are found, how hits and fill are weighed, and what is found of the first k."""

import compiled_lsh
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import softmax_oracle as oracle
from oracles import assert_unbiased, vectors
from quick_compilation import jit

from jaxapprox import lsh
from jaxapprox.softmax import (
    Candidates,
    by_frequency,
    draw,
    hashed_top_k,
    hits,
    recall,
    sampled_cross_entropy,
    top_k,
    with_hits,
)

CLASSES, BATCH, FEATURES = 40, 3, 6
HIDDEN, WEIGHTS, BIAS = vectors(0, BATCH, FEATURES), vectors(1, CLASSES, FEATURES), vectors(2, 1, CLASSES)[0]
LABELS = np.array([2, 0, 39], np.int32)
FREQUENCIES = np.random.default_rng(0).pareto(1.0, CLASSES) + 0.05
SCORES = oracle.scores(HIDDEN, WEIGHTS, BIAS)


def tables_of(weights=WEIGHTS, bias=BIAS, **settings):
    settings = {"transform": "simple", "num_bits": 3, "num_tables": 4} | settings
    return compiled_lsh.build(
        jax.random.key(0),
        jnp.asarray(weights),
        bias=jnp.zeros(len(weights)) if bias is None else jnp.asarray(bias),
        **settings,
    )


hits_of = jit(hits, static_argnames=("per_bucket", "per_example"))
first_of = jit(hashed_top_k, static_argnames=("k", "per_bucket"))


def test_bias_is_one_more_feature():
    settings = {"num_bits": 12, "num_tables": 4}
    tables = compiled_lsh.build(jax.random.key(0), WEIGHTS, bias=BIAS, **settings)
    together = compiled_lsh.build(jax.random.key(0), np.hstack([WEIGHTS, BIAS[:, None]]), **settings)
    np.testing.assert_array_equal(tables.codes, together.codes)
    np.testing.assert_array_equal(compiled_lsh.rebuild(tables, WEIGHTS, BIAS).codes, tables.codes)
    with pytest.raises(ValueError, match=r"^bias must have shape \(40,\)"):
        lsh.rebuild(tables, WEIGHTS, BIAS[:3])


def test_what_is_found(path):
    """Distinct classes of the buckets that [hidden; 1] falls into: all of them where a bucket has no more than asked.

    Where it has more, each has its turn.
    """
    tables = tables_of()
    assert tables.has_buckets == (path == "buckets")
    query = jnp.hstack([HIDDEN, np.ones((BATCH, 1), np.float32)])
    meet = np.asarray(compiled_lsh.collisions(tables, query)) > 0
    own = np.asarray(hits_of(jax.random.key(1), tables, HIDDEN, per_bucket=CLASSES, per_example=True))
    shared = np.asarray(hits_of(jax.random.key(1), tables, HIDDEN, per_bucket=CLASSES))
    for found, expected in (*zip(own, meet, strict=True), (shared, meet.any(0))):
        used = found[found < CLASSES]
        assert found.min() >= 0 and len(set(used.tolist())) == len(used)
        assert set(used.tolist()) == set(np.flatnonzero(expected).tolist())
    few = jit(lambda keys: jax.vmap(lambda key: hits(key, tables, HIDDEN, per_bucket=2, per_example=True))(keys))
    ids = np.asarray(few(jax.random.split(jax.random.key(2), 2000)))
    assert ids.shape == (2000, BATCH, 4 * 2)
    for b in range(BATCH):
        np.testing.assert_array_equal(oracle.counts(ids[:, b], CLASSES).sum(0) > 0, meet[b])
        assert oracle.counts(ids[:, b], CLASSES).max() == 1


def test_classes_with_a_large_bias_are_found():
    """Where nothing but their bias makes scores large, in half as many buckets again as by the weights alone."""
    bias = np.zeros(CLASSES, np.float32)
    bias[::10] = 6

    def found(tables):
        ids = hits_of(jax.random.key(0), tables, vectors(3, 50, FEATURES), per_bucket=CLASSES, per_example=True)
        return np.sum(np.isin(np.asarray(ids), np.arange(0, CLASSES, 10)))

    settings = {"num_tables": 1, "num_bits": 4, "projection": "gaussian"}
    assert found(tables_of(bias=bias, **settings)) > 1.5 * found(tables_of(bias=None, **settings))


@pytest.mark.parametrize("own_hits", [False, True])
@pytest.mark.parametrize("own_fill", [False, True])
def test_hits_count_once_and_the_fill_outside_of_them(own_hits, own_fill):
    """Hits have the weight 1, the fill 1 / expected where it is no hit; labels 1, whichever they are among."""
    found = np.array([[5, CLASSES, 2, 7], [0, 1, CLASSES, CLASSES], [2, 39, 0, 8]], np.int32)
    ids = np.array([[7, 3, 3, 2], [1, 1, 4, 39], [CLASSES, 30, 31, 2]], np.int32)
    found, ids = found if own_hits else found[0], ids if own_fill else ids[0]
    expected = np.append(np.linspace(0.1, 0.9, CLASSES), 1).astype(np.float32)
    together = with_hits(Candidates(jnp.asarray(ids), jnp.asarray(expected[ids]), jnp.ones(3)), found, CLASSES)
    assert together.expected_labels is None
    found, ids = np.broadcast_to(found, (BATCH, 4)), np.broadcast_to(ids, (BATCH, 4))
    weights = np.zeros((BATCH, CLASSES))
    for b in range(BATCH):
        for c in ids[b]:
            if c < CLASSES:
                weights[b, c] += 1 / np.float64(expected[c])
        weights[b, found[b][found[b] < CLASSES]] = 1
        weights[b, LABELS[b]] = 1
    own = oracle.class_weights(CLASSES, LABELS, together.ids, together.expected)
    np.testing.assert_allclose(own, weights, rtol=1e-6)
    loss = jit(sampled_cross_entropy)(HIDDEN, WEIGHTS, BIAS, LABELS, together)
    np.testing.assert_allclose(loss, oracle.loss(HIDDEN, WEIGHTS, BIAS, LABELS, weights), rtol=1e-5)


def test_partition_sum_is_unbiased_given_the_hits():
    """Over draws of the fill, with a false alarm of 1e-6; and the more of the sum hits hold the less noise there is."""
    found = hits_of(jax.random.key(1), tables_of(num_bits=4), HIDDEN, per_bucket=3)
    best = jnp.asarray(np.argsort(-SCORES, 1)[:, :8])
    proposal = by_frequency(FREQUENCIES, 8)

    def of(key):
        fill = draw(key, proposal, LABELS)
        each = with_hits(fill, found, CLASSES), with_hits(fill, best, CLASSES), fill
        return jnp.stack([sampled_cross_entropy(HIDDEN, WEIGHTS, BIAS, LABELS, candidates) for candidates in each])

    losses = np.float64(jit(jax.vmap(of))(jax.random.split(jax.random.key(3), 20_000)))
    partition = np.exp(losses + SCORES[np.arange(BATCH), LABELS])
    assert_unbiased(partition[:, 0], np.exp(SCORES).sum(1), 1e-6)
    assert_unbiased(partition[:, 1], np.exp(SCORES).sum(1), 1e-6)
    assert np.all(partition[:, 1].var(0) < partition[:, 2].var(0) / 10)


def test_first_classes_of_those_found():
    """Scores as they are, from the highest on, each of a class that the hash finds; past them -inf and no class."""
    tables, k = tables_of(num_bits=2, num_tables=2), 25
    query = jnp.hstack([HIDDEN, np.ones((BATCH, 1), np.float32)])
    meet = np.asarray(compiled_lsh.collisions(tables, query)) > 0
    scores, ids = first_of(jax.random.key(0), tables, HIDDEN, WEIGHTS, BIAS, k, per_bucket=CLASSES)
    among = np.where(meet, SCORES, -np.inf)
    expected = np.argsort(-among, 1)[:, :k]
    values = np.take_along_axis(among, expected, 1)
    assert np.isneginf(values).any() and ids.dtype == jnp.int32
    np.testing.assert_allclose(scores, values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ids, np.where(np.isneginf(values), CLASSES, expected))
    exact = top_k(HIDDEN, WEIGHTS, BIAS, 5)[1]
    share = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(ids.tolist(), exact.tolist(), strict=True)])
    np.testing.assert_allclose(recall(ids, exact), share)
    assert recall(exact, exact) == 1


def test_recall_is_above_chance():
    """Of 3,000 classes, the first ten among 300 or fewer that are found: several times as often as at random."""
    weights, hidden = vectors(4, 3000, 16), vectors(5, 40, 16)
    tables = tables_of(weights, None, num_bits=6, num_tables=16)
    assert tables.has_buckets
    _, ids = first_of(jax.random.key(0), tables, hidden, weights, None, 10, per_bucket=18)
    assert recall(ids, top_k(hidden, weights, None, 10)[1]) > 0.25


def test_same_under_jit_vmap_and_scan(path):
    tables, keys = tables_of(), jax.random.split(jax.random.key(0), 2)

    def of(key):
        found = hits(key, tables, HIDDEN, per_bucket=3)
        fill = draw(key, by_frequency(FREQUENCIES, 4), LABELS)
        top = hashed_top_k(key, tables, HIDDEN, WEIGHTS, BIAS, 3, per_bucket=5)[1]
        return found, with_hits(fill, found, CLASSES), top

    alone = jax.tree.map(lambda *leaves: np.stack(leaves), *(jit(of)(key) for key in keys))
    scanned = jit(lambda keys: jax.lax.scan(lambda carry, key: (carry, of(key)), 0, keys)[1])(keys)
    for other in (jit(jax.vmap(of))(keys), scanned):
        jax.tree.map(np.testing.assert_array_equal, other, alone)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("tables", lambda: hits(jax.random.key(0), lsh.build(jax.random.key(0), WEIGHTS), HIDDEN)),  # without the bias
        ("tables", lambda: hashed_top_k(jax.random.key(0), tables_of(WEIGHTS[:9], None), HIDDEN, WEIGHTS, BIAS, 2)),
        ("tables", lambda: hits(jax.random.key(0), None, HIDDEN)),
        ("per_bucket", lambda: hits(jax.random.key(0), tables_of(), HIDDEN, per_bucket=0)),
        ("per_bucket", lambda: hits(jax.random.key(0), tables_of(), HIDDEN, per_bucket=CLASSES + 1)),
        ("k", lambda: hashed_top_k(jax.random.key(0), tables_of(), HIDDEN, WEIGHTS, BIAS, 9, per_bucket=2)),
        ("key", lambda: hits(0, tables_of(), HIDDEN)),
    ],
)
def test_what_is_refused(name, call):
    with pytest.raises(ValueError, match=f"^{name} must .*$") as error:
        call()
    assert "\n" not in str(error.value)
