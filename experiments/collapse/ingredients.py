"""The ingredients of ALSH-approx that `experiments.collapse` changes: active sets, rehashing and the output layer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.cifar.config import Config
from experiments.cifar.methods import METHODS, Method, alsh, hash_as_they_are
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

    As `Method.rehash`; instead of a scaled copy, the parameters themselves change.
    """
    params = dict(params)
    for layer, own in tables.items():
        kernel = params[layer]["kernel"]
        shrink = jnp.minimum(1, own["tables"].max_norm / _longest(kernel))
        params[layer] = {**params[layer], "kernel": kernel * shrink}
    return hash_as_they_are(params, tables)


def hash_unscaled(params: Any, tables: Any) -> tuple[Any, Any]:
    """Another defect of the released program: what is hashed is not the scaled copy of the weights.

    As `Method.rehash`; the transform's powers of norms over 1 then grow instead of vanishing.
    """
    unscaled = {
        layer: {"tables": own["tables"]._replace(max_norm=_longest(params[layer]["kernel"]))}
        for layer, own in tables.items()
    }
    return hash_as_they_are(params, unscaled)


def _longest(kernel: jax.Array) -> jax.Array:
    """The largest norm of a unit's weights."""
    return jnp.sqrt(jnp.max(jnp.sum(jnp.square(kernel), 0)))


def exact(config: Config) -> Method:
    """No hashing at all."""
    return METHODS["exact"](config)


def paper(config: Config) -> Method:
    """The hidden layer hashed, by the settings in `config`."""
    return alsh(config)


def oracle(config: Config) -> Method:
    """`paper` with a perfect hash."""
    return alsh(config, layer=OracleDense)


def random(config: Config) -> Method:
    """`paper` with a hash that finds nothing."""
    return alsh(config, layer=RandomDense)


def weights_rescaled(config: Config) -> Method:
    """`paper` with the released program's defect that long weights are shortened."""
    return alsh(config, rehash=shrink_then_hash)


def weights_unscaled(config: Config) -> Method:
    """`paper` with the released program's defect that long weights are hashed as if they were short."""
    return alsh(config, rehash=hash_unscaled)


def output_hashed(config: Config) -> Method:
    """`paper` with the output layer hashed as well."""
    return alsh(config, hash_output=True)


TRAININGS: dict[str, Callable[[Config], Method]] = {
    training.__name__: training
    for training in (exact, paper, oracle, random, weights_rescaled, weights_unscaled, output_hashed)
}
"""By the names that `Variant.training` has."""
