"""Timings of hashed dense layers against exact ones: a hidden layer at batch 1, an output layer of 670,000 units."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax
from rich.console import Console

from experiments.bench.hash_queries import (
    BATCH,
    FEATURES,
    LARGE_ACTIVE,
    LARGE_UNITS,
    measure_queries,
    show_queries,
)
from experiments.bench.in_place import in_place
from experiments.bench.options import Bench
from experiments.bench.pairs import Pair, measure_pairs, show_pairs
from experiments.bench.random_data import normal, random_weights
from experiments.process.timing import paired
from experiments.training.compilation import jit
from jaxapprox import active_rows
from jaxapprox.linen import ALSHDense
from jaxapprox.lsh import active_set, build

_HIDDEN, _ACTIVE = 1000, 0.05
_RATE = 1e-3  # of SGD


def measure(options: Bench) -> dict[str, Any]:
    """The ratios of `PAIRS`, and what hash queries cost."""
    return {**measure_pairs(PAIRS, 5 * options.rounds), **measure_queries(options.rounds)}


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a line for each pair, and a table of queries."""
    show_pairs(PAIRS, results, console)
    show_queries(results, console)


def layer_by_autodiff(rounds: int) -> dict[str, float]:
    """Compares `nn.Dense` with a gathered `ALSHDense`: output, gradients by autodiff and a step of SGD.

    The layer is 1,000 -> 1,000 with 5 % active, at batch 1; 100 examples go through one `scan`. Autodiff's gradient is
    an array as large as the weights for both.
    """
    hashed, examples = ALSHDense(_HIDDEN, active=_ACTIVE, deterministic=False), _examples()
    variables = hashed.init({"params": jax.random.key(1), "sample": jax.random.key(2)}, examples[0][0])

    def apply(params, x, key):
        return hashed.apply({**variables, "params": params}, x, rngs={"sample": key})

    return _exact_against(_by_autodiff(apply, update=True), (variables["params"], None), rounds, update=True)


def layer_by_rows(rounds: int, *, update: bool) -> dict[str, float]:
    """Compares `nn.Dense` with `jaxapprox.active_rows`, on the layer and the examples of `layer_by_autodiff`.

    Args:
        rounds: how often each is timed.
        update: whether a step of SGD is taken. Otherwise the gradients are the result: an array as large as the
            weights of `nn.Dense`, and rows of the active units.
    """
    weights = random_weights(_HIDDEN, _HIDDEN)
    tables = build(jax.random.key(1), weights)
    size = round(_ACTIVE * _HIDDEN)

    def step(layer, x, g, key):
        weights, bias = layer
        ids = active_set(key, tables, x, size=size)
        y = active_rows.forward(x, weights, bias, ids)
        dx, gradient = active_rows.pull_back(x, weights, ids, jnp.take_along_axis(g, ids, 1))
        if update:
            return active_rows.add_rows(weights, bias, gradient, -_RATE), (y, dx)
        return layer, (y, dx, gradient)

    return _exact_against(step, (weights, jnp.zeros(_HIDDEN)), rounds, update=update)


_Step = Callable[[Any, jax.Array, jax.Array, jax.Array], tuple[Any, Any]]


def _by_autodiff(apply: Callable[..., Any], *, update: bool) -> _Step:
    """A step of `apply(params, x, key)`: its output, its gradients by `vjp`, and with `update` a step of SGD.

    It carries the parameters and, without `update`, their last gradient, so that the gradient has to be written.
    """

    def step(carried, x, g, key):
        params, _ = carried
        y, pull = jax.vjp(lambda params, x: apply(params, x, key), params, x)
        gradient, dx = pull(g)
        if update:
            return (jax.tree.map(lambda p, d: p - _RATE * d, params, gradient), None), (y, dx)
        return (params, gradient), (y, dx)

    return step


def _exact_against(step: _Step, carried: Any, rounds: int, *, update: bool) -> dict[str, float]:
    """Compares `nn.Dense` by autodiff with `step`, which first gets `carried`; 100 examples go through one `scan`."""
    exact, examples = nn.Dense(_HIDDEN), _examples()
    params = exact.init(jax.random.key(1), examples[0][0])
    exact_step = _by_autodiff(lambda params, x, key: exact.apply(params, x), update=update)

    def over_examples(step):
        return lambda carried, examples: lax.scan(lambda carried, one: step(carried, *one), carried, examples)

    begin = params, None if update else jax.tree.map(jnp.zeros_like, params)
    ours = in_place(over_examples(step), jax.tree.map(jnp.copy, carried), examples)
    return paired(in_place(over_examples(exact_step), begin, examples), ours, rounds)


def _examples() -> tuple[jax.Array, jax.Array, jax.Array]:
    """100 inputs and output gradients of a hidden layer at batch 1, and keys."""
    x, g = normal((2, 100, 1, _HIDDEN), 0)
    return x, g, jax.random.split(jax.random.key(3), 100)


def large_output_layer(rounds: int) -> dict[str, float]:
    """Compares softmax cross-entropy and a step of SGD, exact, with the same on active rows.

    The layer is 128 -> 670,000 with 0.5 % active, at batch 128. Five tables of 6 bits find each example's active set,
    in which the label's unit takes the last place; the gradient stays as rows.
    """
    x, weights, key = normal((BATCH, FEATURES), 0), random_weights(LARGE_UNITS, FEATURES), jax.random.key(3)
    labels = jax.random.randint(jax.random.key(4), (BATCH,), 0, LARGE_UNITS)
    size = round(LARGE_ACTIVE * LARGE_UNITS)
    tables = jit(lambda weights: build(jax.random.key(1), weights))(weights)

    def exact_step(layer, x, labels):
        def loss_of(layer, x):
            logits = x @ layer[0] + layer[1][None]
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        loss, (gradient, dx) = jax.value_and_grad(loss_of, argnums=(0, 1))(layer, x)
        return jax.tree.map(lambda p, d: p - _RATE * d, layer, gradient), (loss, dx)

    def rows_step(layer, tables, x, labels, key):
        weights, bias = layer
        ids = _with_label(active_set(key, tables, x, size=size), labels)

        def loss_of(logits):
            of_label = jnp.sum(jnp.where(ids == labels[:, None], logits, 0), -1)
            return (jax.nn.logsumexp(logits, -1) - of_label).mean()

        loss, g = jax.value_and_grad(loss_of)(active_rows.forward(x, weights, bias, ids))
        dx, gradient = active_rows.pull_back(x, weights, ids, g)
        return active_rows.add_rows(weights, bias, gradient, -_RATE), (loss, dx)

    exact = in_place(exact_step, (weights.T.copy(), jnp.zeros(LARGE_UNITS)), x, labels)
    return paired(exact, in_place(rows_step, (weights, jnp.zeros(LARGE_UNITS)), tables, x, labels, key), rounds)


def _with_label(ids: jax.Array, labels: jax.Array) -> jax.Array:
    """The label's unit in the place of the last one found, unless it was found."""
    missing = ~jnp.any(ids == labels[:, None], -1)
    return ids.at[:, -1].set(jnp.where(missing, labels, ids[:, -1]))


PAIRS: dict[str, Pair] = {
    "exact_over_hashed_layer_by_autodiff": layer_by_autodiff,
    "exact_over_hashed_layer_by_rows": functools.partial(layer_by_rows, update=True),
    "exact_over_hashed_layer_by_rows_gradients_alone": functools.partial(layer_by_rows, update=False),
    "exact_over_hashed_output_layer": large_output_layer,
}
"""Each is the exact layer's time over the hashed one's."""
