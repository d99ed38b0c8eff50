"""The ingredients of ALSH-approx that `experiments.collapse` changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cifar.config import Config
from experiments.collapse.ingredients import OracleDense, RandomDense, hash_unscaled, shrink_then_hash
from experiments.collapse.variants import TRAININGS, VARIANTS
from jaxapprox.lsh import build

CONFIG = Config(width=2, blocks=(1,), epochs=2, batch_size=8, lrs=(0.01,))


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


def test_every_variant_of_the_collapse_makes_a_method():
    """All have settings that the configuration accepts, layers that can be made, and a reference that is exact."""
    for variant in VARIANTS.values():
        config = dataclasses.replace(CONFIG, **variant.settings)
        config.check()
        layer = TRAININGS[variant.training].layers(config).hidden(10)
        variables = layer.init(jax.random.key(0), jnp.ones((1, 3)), deterministic=True)
        assert layer.apply(variables, jnp.ones((1, 3)), deterministic=True).shape == (1, 10)
        assert TRAININGS[VARIANTS[variant.reference].training].layers(config).exact
