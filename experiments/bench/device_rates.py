"""What this machine's device can do: its rate of products and of copies, and how long calls take it."""

import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from rich.console import Console

from experiments.process.timing import seconds
from experiments.training.compilation import jit

_SIDE = {"cpu": 1024}  # of matrices, 8,192 elsewhere
_COPIED = {"cpu": 2**26}  # numbers, 2**29 elsewhere
_CALLS = {"cpu": 1}  # that are timed together, 20 elsewhere: there a call returns before it is done


class Rates(NamedTuple):
    """The best of some rounds, in bfloat16.

    Attributes:
        flops: floating-point operations per second, of a product of square matrices.
        bytes: per second, read and written, of a copy.
    """

    flops: float
    bytes: float


def measure_rates(rounds: int) -> Rates:
    """Those of this device."""
    side = _SIDE.get(jax.default_backend(), 8192)
    a = jax.random.normal(jax.random.key(0), (side, side), jnp.bfloat16)
    numbers = jnp.zeros(_COPIED.get(jax.default_backend(), 2**29), jnp.bfloat16)
    product, copy = jit(jnp.matmul), jit(lambda numbers: numbers + 1)
    of_product = min(each_by_round({"": lambda: product(a, a)}, rounds)[""])
    of_copy = min(each_by_round({"": lambda: copy(numbers)}, rounds)[""])
    return Rates(2 * side**3 / of_product, 2 * numbers.nbytes / of_copy)


def each_by_round(called: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of a call of each by round, in turn, after one call of each."""
    for call in called.values():
        seconds(call)
    times: dict[str, list[float]] = {name: [] for name in called}
    for _ in range(rounds):
        for name, call in called.items():
            times[name].append(_seconds_of_each(call))
    return times


def against(times: list[float], others: list[float]) -> str:
    """A cell: how long it took relative to others, the median over rounds and the range."""
    ratios = [t / other for t, other in zip(times, others, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def show_rates(rates: Rates, console: Console) -> None:
    """Prints a line."""
    console.print(
        f"products of bfloat16: {rates.flops / 1e12:.3g} TFLOP/s, copies: {rates.bytes / 1e9:.4g} GB/s", highlight=False
    )


def _seconds_of_each(call: Callable[[], Any]) -> float:
    calls = _CALLS.get(jax.default_backend(), 20)
    return seconds(lambda: [call() for _ in range(calls)][-1]) / calls
