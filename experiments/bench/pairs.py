"""Pairs of functions that are timed against each other, and the lines that show their ratios."""

from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console


class Pair(Protocol):
    """Times two functions in turn."""

    def __call__(self, rounds: int) -> dict[str, float]:
        """The results of `experiments.process.timing.paired`."""
        ...


def measure_pairs(pairs: Mapping[str, Pair], rounds: int) -> dict[str, dict[str, float]]:
    """The result of each pair by its name."""
    return {name: pair(rounds) for name, pair in pairs.items()}


def show_pairs(pairs: Mapping[str, Pair], results: Mapping[str, Any], console: Console) -> None:
    """Prints a line for each pair: the median ratio, and its range over rounds."""
    for name in pairs:
        r = results[name]
        console.print(f"{name}: {r['ratio']:.2f} ({r['ratio_min']:.2f} to {r['ratio_max']:.2f})", highlight=False)
