"""Timings of hashed dense layers against exact ones: a hidden layer at batch 1, an output layer of 670,000 units."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import lax

from experiments.process.timing import paired, seconds
from experiments.training.compilation import jit
from jaxapprox import active_rows
from jaxapprox.linen import ALSHDense
from jaxapprox.lsh import active_set, build

_HIDDEN, _ACTIVE = 1000, 0.05
_RATE = 1e-3  # of SGD
_UNITS, _FEATURES, _BATCH, _ACTIVE_OF_MANY = 670_000, 128, 128, 0.005


def layer_by_autodiff(rounds: int) -> dict[str, float]:
    """`nn.Dense` against `ALSHDense`, gathered, 1,000 -> 1,000 at 5 %, batch 1: output, gradients and a step of SGD.

    100 examples in one `scan`. Autodiff's gradient is an array as large as the weights for both.
    """
    hashed, examples = ALSHDense(_HIDDEN, active=_ACTIVE, deterministic=False), _examples()
    variables = hashed.init({"params": jax.random.key(1), "sample": jax.random.key(2)}, examples[0][0])

    def apply(params, x, key):
        return hashed.apply({**variables, "params": params}, x, rngs={"sample": key})

    return _exact_against(_by_autodiff(apply, update=True), (variables["params"], None), rounds, update=True)


def layer_by_rows(rounds: int, *, update: bool) -> dict[str, float]:
    """The same by `jaxapprox.active_rows`: hash query, active units, their gradients, and with `update` a step of SGD.

    Without it the gradients are the result: as large as the weights, and as rows.
    """
    weights = _weights(_HIDDEN, _HIDDEN)
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
    """A step of `apply(params, x, key)`: output and `vjp`, and with `update` a step of SGD.

    It carries the parameters and, without `update`, their last gradient: so that it is written, over the one before.
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
    """`nn.Dense` by autodiff against `step`, which begins with `carried`: 100 examples in one `scan` each."""
    exact, examples = nn.Dense(_HIDDEN), _examples()
    params = exact.init(jax.random.key(1), examples[0][0])
    exact_step = _by_autodiff(lambda params, x, key: exact.apply(params, x), update=update)

    def over_examples(step):
        return lambda carried, examples: lax.scan(lambda carried, one: step(carried, *one), carried, examples)

    begin = params, None if update else jax.tree.map(jnp.zeros_like, params)
    ours = _in_place(over_examples(step), jax.tree.map(jnp.copy, carried), examples)
    return paired(_in_place(over_examples(exact_step), begin, examples), ours, rounds)


def _examples() -> tuple[jax.Array, jax.Array, jax.Array]:
    """100 inputs and output gradients of a hidden layer at batch 1, and keys."""
    x, g = _normal((2, 100, 1, _HIDDEN), 0)
    return x, g, jax.random.split(jax.random.key(3), 100)


def large_output_layer(rounds: int) -> dict[str, float]:
    """128 -> 670,000 at 0.5 %, batch 128: softmax cross-entropy and a step of SGD, exact against active rows.

    Active sets are found for each example by 5 tables of 6 bits; the label's unit takes the last place. The gradient
    stays as rows.
    """
    x, weights, key = _normal((_BATCH, _FEATURES), 0), _weights(_UNITS, _FEATURES), jax.random.key(3)
    labels = jax.random.randint(jax.random.key(4), (_BATCH,), 0, _UNITS)
    size = round(_ACTIVE_OF_MANY * _UNITS)
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

    exact = _in_place(exact_step, (weights.T.copy(), jnp.zeros(_UNITS)), x, labels)
    return paired(exact, _in_place(rows_step, (weights, jnp.zeros(_UNITS)), tables, x, labels, key), rounds)


def _in_place(step: Callable[..., Any], layer: Any, *arguments: Any) -> Callable[[], Any]:
    """Calls `step` on its own last result, in the same memory."""
    kept, compiled = [layer], jit(step, donate_argnums=0)

    def call():
        kept[0], other = compiled(kept[0], *arguments)
        return kept[0], other

    return call


def _with_label(ids: jax.Array, labels: jax.Array) -> jax.Array:
    """The label's unit in the place of the last one found, unless it was found."""
    missing = ~jnp.any(ids == labels[:, None], -1)
    return ids.at[:, -1].set(jnp.where(missing, labels, ids[:, -1]))


def queries(rounds: int) -> list[dict[str, float]]:
    """Seconds for each example of a query among 670,000 units x 128 features, by K and L, and of the exact product."""
    x, weights = _normal((_BATCH, _FEATURES), 0), _weights(_UNITS, _FEATURES)
    size, key = round(_ACTIVE_OF_MANY * _UNITS), jax.random.key(3)
    product = jit(lambda x, weights: x @ weights.T)
    results = []
    for num_tables, num_bits in ((5, 6), (50, 6), (50, 10), (50, 15)):
        construct = jit(lambda w, L=num_tables, K=num_bits: build(jax.random.key(1), w, num_tables=L, num_bits=K))
        tables = jax.block_until_ready(construct(weights))
        query = jit(functools.partial(active_set, size=size)).lower(key, tables, x).compile()
        times = paired(lambda: query(key, tables, x), lambda: product(x, weights), rounds)  # noqa: B023
        results.append(
            {
                "num_tables": num_tables,
                "num_bits": num_bits,
                "build_seconds": seconds(lambda: construct(weights)),  # noqa: B023
                "query_seconds": times["seconds"] / _BATCH,
                "product_seconds": times["reference_seconds"] / _BATCH,
                "query_megabytes": _megabytes(query),
                "build_megabytes": _megabytes(construct.lower(weights).compile()),
            }
        )
    return results


def _megabytes(compiled: Any) -> float:
    """What a program's arguments, results and temporaries take, by XLA's account."""
    memory = compiled.memory_analysis()
    return (memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes) / 1e6


def comparison_against_buckets(rounds: int) -> dict[int, float]:
    """Time of comparing all units' codes over that of collecting buckets, one example, a twentieth active, by units."""
    results = {}
    for units in (2_048, 4_096, 32_768):
        x, key = _normal((1, _FEATURES), 0), jax.random.key(3)
        with_buckets = build(jax.random.key(1), _weights(units, _FEATURES))
        without = with_buckets._replace(order=with_buckets.order[:, :0], offsets=with_buckets.offsets[:, :0])
        query = jit(functools.partial(active_set, size=units // 20))
        times = paired(lambda: query(key, without, x), lambda: query(key, with_buckets, x), 10 * rounds)  # noqa: B023
        results[units] = times["ratio"]
    return results


def _normal(shape: tuple[int, ...], seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def _weights(units: int, features: int) -> jax.Array:
    return _normal((units, features), 5) / np.sqrt(features)


# Each is the exact layer's time over the hashed one's.
PAIRS: dict[str, Callable[[int], dict[str, float]]] = {
    "exact_over_hashed_layer_by_autodiff": layer_by_autodiff,
    "exact_over_hashed_layer_by_rows": functools.partial(layer_by_rows, update=True),
    "exact_over_hashed_layer_by_rows_gradients_alone": functools.partial(layer_by_rows, update=False),
    "exact_over_hashed_output_layer": large_output_layer,
}
