"""The ingredients of ALSH-approx that `experiments.collapse` changes: active sets, rehashing and the output layer."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.cifar.config import Config
from experiments.cifar.methods import CNNLayers, hash_as_they_are, hashed_layers
from experiments.training.method import training_method
from jaxapprox.linen import ALSHDense


class OracleDense(ALSHDense):
    """The units with the truly largest inner products are active: what a perfect hash would find."""

    def choose(self, key, tables, weights, x, size):
        return lax.top_k(x @ weights.T, size)[1]


class RandomDense(ALSHDense):
    """Units drawn at random are active: what a hash that finds nothing leaves."""

    def choose(self, key, tables, weights, x, size):
        order = jax.vmap(lambda key: jax.random.permutation(key, weights.shape[0]))
        return order(jax.random.split(key, x.shape[0]))[:, :size]


def shrink_then_hash(params: Any, tables: Any) -> tuple[Any, Any]:
    """A defect of the released program: at each rehash the weights longer than U are scaled down.

    This is a `Rehash`; instead of a scaled copy, the parameters themselves change.
    """
    params = dict(params)
    for layer, own in tables.items():
        kernel = params[layer]["kernel"]
        shrink = jnp.minimum(1, own["tables"].max_norm / _longest(kernel))
        params[layer] = {**params[layer], "kernel": kernel * shrink}
    return hash_as_they_are(params, tables)


def hash_unscaled(params: Any, tables: Any) -> tuple[Any, Any]:
    """Another defect of the released program: what is hashed is not the scaled copy of the weights.

    This is a `Rehash`; the transform's powers of norms over 1 then grow instead of vanishing.
    """
    unscaled = {
        layer: {"tables": own["tables"]._replace(max_norm=_longest(params[layer]["kernel"]))}
        for layer, own in tables.items()
    }
    return hash_as_they_are(params, unscaled)


def _longest(kernel: jax.Array) -> jax.Array:
    """The largest norm of a unit's weights."""
    return jnp.sqrt(jnp.max(jnp.sum(jnp.square(kernel), 0)))


@training_method()
def oracle(config: Config) -> CNNLayers:
    """`paper` with a perfect hash."""
    return hashed_layers(config, layer=OracleDense)


@training_method()
def random(config: Config) -> CNNLayers:
    """`paper` with a hash that finds nothing."""
    return hashed_layers(config, layer=RandomDense)


@training_method()
def weights_rescaled(config: Config) -> CNNLayers:
    """`paper` with the released program's defect that long weights are shortened."""
    return hashed_layers(config, rehash=shrink_then_hash)


@training_method()
def weights_unscaled(config: Config) -> CNNLayers:
    """`paper` with the released program's defect that long weights are hashed as if they were short."""
    return hashed_layers(config, rehash=hash_unscaled)


@training_method()
def output_hashed(config: Config) -> CNNLayers:
    """`paper` with the output layer hashed as well."""
    return hashed_layers(config, hash_output=True)
