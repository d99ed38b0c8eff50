"""How the hidden layers of a fully connected network are trained: on active sets of its units or inputs, or all."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxapprox import ALSH, Sampler, active_layers, mc_dense
from jaxapprox.active_layers import Active, PullBack
from jaxapprox.blocks import EVERYTHING, vjp
from jaxapprox.lsh import active_set, rebuild


class TrainLayer(Protocol):
    """Runs a hidden layer in training, from what the layer before left; `tables` are its own, if it has some."""

    def __call__(self, key: jax.Array, params: Any, tables: Any, x: Active) -> tuple[Active, PullBack]: ...


class MakeTables(Protocol):
    """Makes what else a layer carries, from its parameters."""

    def __call__(self, key: jax.Array, params: Any) -> Any: ...


class RefreshTables(Protocol):
    """Makes the tables anew, at the beginning of a round of steps."""

    def __call__(self, tables: Any, params: Any) -> Any: ...


class ChooseUnits(Protocol):
    """Finds the active units of each example x `(batch, in)`: `(batch, size)` ids."""

    def __call__(self, key: jax.Array, tables: Any, x: jax.Array) -> jax.Array: ...


@dataclasses.dataclass(frozen=True)
class HiddenLayer:
    """How the hidden layers are trained and evaluated.

    Attributes:
        by_units: whether they keep `weights (units, in)` instead of a `kernel`: see `jaxapprox.active_layers`.
        train: runs the layer in training.
        tables: what else a layer carries; None for nothing.
        refresh: None for tables that stay as they are.
        activation: from inner products to activations, in evaluation.
        choose: for evaluation through the hash; None if nothing is hashed.
    """

    by_units: bool
    train: TrainLayer
    tables: MakeTables | None = None
    refresh: RefreshTables | None = None
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    choose: ChooseUnits | None = None


def dense(
    activation: Callable[[jax.Array, jax.Array], jax.Array], evaluation: Callable[[jax.Array], jax.Array] = nn.relu
) -> HiddenLayer:
    """The exact layer.

    Args:
        activation: from a key and inner products to activations, in training.
        evaluation: from inner products to activations, in evaluation.
    """

    def layer(key, params, _, x):
        y, pull = active_layers.dense(params, x, activation=functools.partial(activation, key))
        return Active(None, y), pull

    return HiddenLayer(by_units=False, train=layer, activation=evaluation)


def hashed(hashing: ALSH, *, units: int, rehashes: bool) -> HiddenLayer:
    """ALSH-approx.

    Args:
        hashing: the settings.
        units: of each layer.
        rehashes: whether hash tables are made anew as the weights move.
    """
    size, select = hashing.size(units), hashing.select

    def layer(key, params, tables, x):
        return active_layers.hashed(key, params, tables, x, size=size, activation=nn.relu, select=select)

    return HiddenLayer(
        by_units=True,
        train=layer,
        tables=lambda key, params: hashing.build(key, params["weights"]),
        refresh=(lambda tables, params: rebuild(tables, params["weights"])) if rehashes else None,
        choose=functools.partial(active_set, size=size, select=select),
    )


def sampled(*, ratio: float, sampler: Sampler) -> HiddenLayer:
    """MC-approx, forward; the kernel's norms, which only say what matters, are those of the last refresh."""

    def layer(key, params, norms, x):
        return active_layers.sampled(key, params, norms, x, ratio=ratio, sampler=sampler, activation=nn.relu)

    def norms(params):
        return jnp.linalg.norm(params["kernel"], axis=1)

    return HiddenLayer(
        by_units=False,
        train=layer,
        tables=lambda key, params: norms(params),
        refresh=lambda tables, params: norms(params),
    )


def sampled_backward(*, ratio: float, sampler: Sampler) -> HiddenLayer:
    """MC-approx, backward (Adelman et al.): exact but for the gradient in a layer's input."""

    def layer(key, params, _, x):
        def function(params, values):
            product = mc_dense(key, values, params["kernel"], ratio=ratio, sampler=sampler, mode="backward")
            return nn.relu(product + params["bias"][None])

        y, pull = vjp(function, params, jax.tree.map(lambda _: EVERYTHING, params), x.values)
        return Active(None, y), pull

    return HiddenLayer(by_units=False, train=layer)


def dropped(*, rate: float) -> HiddenLayer:
    """Dropout."""
    return HiddenLayer(
        by_units=True,
        train=lambda key, params, _, x: active_layers.dropped(key, params, x, rate=rate, activation=nn.relu),
    )


def adaptively_dropped(*, keep: Callable[[jax.Array], jax.Array], rescales: bool, capacity: float) -> HiddenLayer:
    """Adaptive dropout."""

    def layer(key, params, _, x):
        return active_layers.adaptively_dropped(key, params, x, keep=keep, capacity=capacity, activation=nn.relu)

    def expected(z):
        return (keep(z) * nn.relu(z)).astype(z.dtype)

    return HiddenLayer(by_units=True, train=layer, activation=expected if rescales else nn.relu)
