"""Output layers of very many classes: steps on random data, and what is learned from a text in a given time."""

from typing import Any

from rich.console import Console

from experiments.bench.options import Bench
from experiments.bench.wide_steps import measure_steps, show_steps


def measure(options: Bench) -> dict[str, Any]:
    return measure_steps(options)


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    show_steps(results, console)
