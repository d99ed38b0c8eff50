"""`MC`: how many rows it keeps, and its draws."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxapprox import MC, SAMPLERS, Sample

SCORES = jnp.asarray([5.0, 0.0, 1.0, 0.3, 2.0, 0.1, 0.7, 1.5, 0.0, 0.4])


@pytest.mark.parametrize(
    ("ratio", "least", "n", "expected"),
    [(0.5, 1, 10, 5), (0.01, 1, 10, 1), (0.01, 4, 10, 4), (0.5, 40, 10, 10), (1.0, 1, 10, 10), (0.25, 1, 1, 1)],
)
def test_size(ratio, least, n, expected):
    """k = max(min_samples, round(ratio n)), at most n."""
    assert MC(ratio, min_samples=least).size(n) == expected


def repeating(key, scores, num_samples):
    """A user's sampler: the same few rows again and again, at other weights, and slots of no weight."""
    indices = jax.random.randint(key, (2 * num_samples,), 2, 5)
    return Sample(indices, jnp.arange(2.0 * num_samples))


@pytest.mark.parametrize("sampler", [*SAMPLERS.values(), repeating], ids=lambda s: s.__name__)
def test_repeated_rows_are_merged(sampler):
    """Each row's weights add up in its first slot, which is the one that `slot_of` names."""
    method = MC(ratio=0.5, sampler=sampler)
    for key in jax.random.split(jax.random.key(0), 5):
        rows = method.draw(key, SCORES)
        drawn = sampler(key, SCORES, 5)
        chex.assert_trees_all_equal(rows.indices, drawn.indices)
        chex.assert_shape(rows.slot_of, SCORES.shape)
        total = np.zeros(10)
        for slot, (row, weight) in enumerate(zip(rows.indices.tolist(), rows.weights.tolist(), strict=True)):
            assert weight == 0 or slot == rows.slot_of[row]
            total[row] += weight
        if sampler is repeating:
            expected = np.zeros(10)
            np.add.at(expected, drawn.indices, drawn.weights)
        else:
            expected = oracles.drawn_weights(sampler, key, SCORES, 5)
        np.testing.assert_allclose(total, expected, rtol=1e-6)
        absent = sorted(set(range(10)) - set(drawn.indices.tolist()))
        np.testing.assert_array_equal(rows.slot_of[jnp.asarray(absent)], len(drawn.indices))
