"""The ingredients of ALSH-approx that `experiments.collapse` changes, one at a time."""

import dataclasses
import functools
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
    """A defect of the released program: weights longer than U are scaled down, themselves, at each rehash."""
    params = dict(params)
    for layer, own in tables.items():
        kernel = params[layer]["kernel"]
        shrink = jnp.minimum(1, own["tables"].max_norm / _longest(kernel))
        params[layer] = {**params[layer], "kernel": kernel * shrink}
    return hash_as_they_are(params, tables)


def hash_unscaled(params: Any, tables: Any) -> tuple[Any, Any]:
    """Another: the scaled copy is made and thrown away, and powers of norms over 1 are hashed."""
    unscaled = {
        layer: {"tables": own["tables"]._replace(max_norm=_longest(params[layer]["kernel"]))}
        for layer, own in tables.items()
    }
    return hash_as_they_are(params, unscaled)


def _longest(kernel: jax.Array) -> jax.Array:
    """The largest norm of a unit's weights."""
    return jnp.sqrt(jnp.max(jnp.sum(jnp.square(kernel), 0)))


@dataclasses.dataclass(frozen=True)
class Variant:
    """The paper's setting with a change.

    Attributes:
        ingredient: what is changed.
        settings: fields of `Config`, in place of the paper's.
        method: the training.
        reference: the exact training to compare with.
    """

    ingredient: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    method: Callable[[Config], Method] = alsh
    reference: str = "exact"


_BETTER = {"transform": "simple", "select": "count"}


def _batch(size: int) -> dict[str, Any]:
    """Settings for batches of `size`: the learning rate in proportion."""
    return {"batch_size": size, "lrs": (Config.lrs[0] * size / Config.batch_size,)}


VARIANTS: dict[str, Variant] = {
    "exact": Variant("reference", method=METHODS["exact"]),
    "paper": Variant("reference"),
    "oracle": Variant("active set", method=functools.partial(alsh, layer=OracleDense)),
    "count": Variant("active set", {"select": "count"}),
    "random": Variant("active set", method=functools.partial(alsh, layer=RandomDense)),
    "K 10": Variant("K and L", {"num_bits": 10}),
    "L 50": Variant("K and L", {"num_tables": 50}),
    "simple, count, L 50": Variant("a better hash", {**_BETTER, "num_tables": 50}),
    "simple, count, K 1, L 200": Variant("a better hash", {**_BETTER, "num_bits": 1, "num_tables": 200}),
    "simple, count, K 1, L 1000": Variant("a better hash", {**_BETTER, "num_bits": 1, "num_tables": 1000}),
    "every step": Variant("rehash", {"rehash_every": 1, "rehash_every_late": 1}),
    "never": Variant("rehash", {"rehash_every": 0}),
    "weights rescaled": Variant("defects", method=functools.partial(alsh, rehash=shrink_then_hash)),
    "weights unscaled": Variant("defects", method=functools.partial(alsh, rehash=hash_unscaled)),
    "output hashed": Variant("output layer", method=functools.partial(alsh, hash_output=True)),
    "exact, batch 1": Variant("batch 1", _batch(1), METHODS["exact"], "exact, batch 1"),
    "paper, batch 1": Variant("batch 1", _batch(1), reference="exact, batch 1"),
    "oracle, batch 1": Variant(
        "batch 1", _batch(1), functools.partial(alsh, layer=OracleDense), reference="exact, batch 1"
    ),
    "output hashed, batch 1": Variant(
        "batch 1", _batch(1), functools.partial(alsh, hash_output=True), reference="exact, batch 1"
    ),
}
