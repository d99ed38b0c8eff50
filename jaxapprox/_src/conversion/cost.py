"""What a layer's product costs in training, exact and approximated: operations, and time on this machine."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.conversion.layer_products import Shape, approximate, exact

_ROUNDS = 7
_SECONDS_A_ROUND = 5e-3  # calls shorter than this are repeated


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


def measure(shape: Shape, method: Approximation, key: jax.Array, tables: Any, x: jax.Array, kernel: jax.Array) -> Cost:
    """Measures one call of a layer with its gradients; `tables` are those of `layer_products.hash_tables`."""
    draw_key, cotangent_key = jax.random.split(key)

    def exactly(key, tables, x, kernel, g):
        y, pull_back = jax.vjp(partial(exact, shape), x, kernel)
        return y, pull_back(g)

    def approximately(key, tables, x, kernel, g):
        y, pull_back = jax.vjp(partial(approximate, shape, method, key, tables), x, kernel)
        return y, pull_back(g)

    y = jax.eval_shape(partial(exact, shape), x, kernel)
    operands = (draw_key, tables, x, kernel, jax.random.normal(cotangent_key, y.shape, y.dtype))
    steps: list[Any] = [jax.jit(function).lower(*operands) for function in (exactly, approximately)]
    exact_flops, flops = (float(step.cost_analysis()["flops"]) for step in steps)
    return Cost(exact_flops, flops, *_seconds_in_turn([partial(step.compile(), *operands) for step in steps]))


def _seconds_in_turn(functions: Sequence[Callable[[], Any]]) -> list[float]:
    """The median seconds of a call of each function, after a warm-up."""
    repeats = []
    for function in functions:
        _seconds(function, 1)
        repeats.append(max(1, math.ceil(_SECONDS_A_ROUND / _seconds(function, 1))))
    rounds = [[_seconds(f, n) for f, n in zip(functions, repeats, strict=True)] for _ in range(_ROUNDS)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _seconds(function: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(function())
    return (time.perf_counter() - start) / repeats
