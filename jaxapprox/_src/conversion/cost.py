"""What a layer's product costs in training, exact and approximated: operations, and time on this machine."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxapprox._src.conversion.approximation import ProductApproximation
from jaxapprox._src.conversion.layer_products import Product, approximate, exact
from jaxapprox._src.flops import flops

_ROUNDS = 7
_FEWEST_ROUNDS = 3
_SECONDS_A_ROUND = 5e-3  # calls shorter than this are repeated
_SECONDS_A_LAYER = 5.0  # after this no more than the fewest rounds are begun
_CALLS = _ROUNDS + 2  # with those that warm up
_SECONDS_TO_COMPILE = 2.0  # a layer's programs


class Cost(NamedTuple):
    """The cost of one call of a layer in training (its output and both gradients), exact and approximated.

    Attributes:
        exact_flops, flops: floating-point operations, as XLA counts them before it optimizes.
        exact_seconds, seconds: medians of times on the default device, exact and approximated measured in turn.
    """

    exact_flops: float
    flops: float
    exact_seconds: float
    seconds: float


class Steps(NamedTuple):
    """One call of a layer with its gradients, exact and approximated.

    Both are functions of a key, tables of `layer_products.hash_tables`, the operands and the cotangent of the result.

    Attributes:
        exact, approximate: the functions.
        y: shape and dtype of the result.
        flops: operations of both, as XLA counts them before it optimizes.
    """

    exact: Callable[..., Any]
    approximate: Callable[..., Any]
    y: jax.ShapeDtypeStruct
    flops: tuple[float, float]


def steps_of(product: Product, method: ProductApproximation, key: jax.Array, tables: Any, lhs: Any, rhs: Any) -> Steps:
    """A layer's steps and their operations. All arguments but the first two may be arrays or their shapes."""

    def exactly(key, tables, lhs, rhs, g):
        y, pull_back = jax.vjp(partial(exact, product), lhs, rhs)
        return y, pull_back(g)

    def approximately(key, tables, lhs, rhs, g):
        y, pull_back = jax.vjp(partial(approximate, product, method, key, tables), lhs, rhs)
        return y, pull_back(g)

    y = jax.eval_shape(partial(exact, product), lhs, rhs)
    operations = [flops(step, key, tables, lhs, rhs, y) for step in (exactly, approximately)]
    return Steps(exactly, approximately, y, (operations[0], operations[1]))


def expected_seconds(steps: Sequence[Steps]) -> float:
    """About how long it will take to measure so many layers, by their operations and a product on this machine."""
    a = jnp.ones((512, 512))
    product = partial(jax.jit(jnp.matmul), a, a)
    _seconds(product, 1)
    speed = 2 * 512**3 / _seconds(product, 3)
    return sum(_SECONDS_TO_COMPILE + _CALLS * sum(step.flops) / speed for step in steps)


def measure(steps: Steps, key: jax.Array, tables: Any, lhs: jax.Array, rhs: jax.Array) -> Cost:
    """Measures one call of a layer with its gradients."""
    draw_key, cotangent_key = jax.random.split(key)
    operands = (draw_key, tables, lhs, rhs, jax.random.normal(cotangent_key, steps.y.shape, steps.y.dtype))
    calls = [partial(jax.jit(step).lower(*operands).compile(), *operands) for step in (steps.exact, steps.approximate)]
    return Cost(*steps.flops, *_seconds_in_turn(calls))


def _seconds_in_turn(functions: Sequence[Callable[[], Any]]) -> list[float]:
    """The median seconds of a call of each function, after a warm-up."""
    start = time.perf_counter()
    repeats = []
    for function in functions:
        _seconds(function, 1)
        repeats.append(max(1, math.ceil(_SECONDS_A_ROUND / _seconds(function, 1))))
    rounds: list[list[float]] = []
    while len(rounds) < _FEWEST_ROUNDS or (len(rounds) < _ROUNDS and time.perf_counter() - start < _SECONDS_A_LAYER):
        rounds.append([_seconds(f, n) for f, n in zip(functions, repeats, strict=True)])
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _seconds(function: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(function())
    return (time.perf_counter() - start) / repeats
