"""What `experiments.collapse` changes of ALSH-approx."""

import jax
import numpy as np

from experiments.collapse.ingredients import OracleDense, RandomDense, hash_unscaled, shrink_then_hash
from jaxapprox.lsh import build


def test_ingredients_do_what_they_say():
    """Oracle and random sets; weights shrunk to U and no further; unscaled hashing is of the weights as they are."""
    x, weights = jax.random.normal(jax.random.key(0), (3, 6)), jax.random.normal(jax.random.key(1), (20, 6))
    tables = build(jax.random.key(2), weights)
    truth = np.argsort(-np.float64(x) @ np.float64(weights).T)[:, :5]
    for layer, is_truth in ((OracleDense(20), True), (RandomDense(20), False)):
        ids = np.sort(layer.choose(jax.random.key(3), tables, weights, x, 5))
        assert np.array_equal(ids, np.sort(truth)) == is_truth
        assert all(len(set(row)) == 5 for row in ids.tolist())
    params, lsh = {"hidden": {"kernel": weights.T}}, {"hidden": {"tables": tables}}
    shrunk, hashed = shrink_then_hash(params, lsh)
    norms = np.linalg.norm(np.float64(shrunk["hidden"]["kernel"]), axis=0)
    np.testing.assert_allclose(norms.max(), 0.83, rtol=1e-5)
    again, _ = shrink_then_hash(jax.tree.map(lambda w: 0.5 * w, shrunk), hashed)
    np.testing.assert_array_equal(again["hidden"]["kernel"], 0.5 * shrunk["hidden"]["kernel"])
    same, unscaled = hash_unscaled(params, lsh)
    assert same is params
    projected = np.float64(weights) @ np.float64(tables.projections)
    powers = np.linalg.norm(np.float64(weights), axis=1)[:, None] ** np.array([2, 4, 8])
    bits = (projected + powers @ np.float64(tables.tail) >= 0).reshape(20, 5, 6)
    np.testing.assert_array_equal(unscaled["hidden"]["tables"].codes, (bits @ (1 << np.arange(6))).T)
