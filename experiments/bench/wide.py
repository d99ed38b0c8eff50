"""Output layers of very many classes: a step on random data, and what is learned from a text in a given time."""

from typing import Any

from rich.console import Console

from experiments.bench.options import Bench
from experiments.bench.race_figure import draw_race
from experiments.bench.race_table import show_race
from experiments.bench.text_race import measure_race
from experiments.bench.wide_steps import measure_steps, show_steps


def measure(options: Bench) -> dict[str, Any]:
    """Steps by the number of classes and the batch; with `options.text` a race as well."""
    return {**measure_steps(options), **({} if options.text is None else measure_race(options))}


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints the tables of both, and what is published of others; draws wide.png of a race into `options.out`."""
    show_steps(results, console)
    if "wide_race" in results:
        show_race(results, console)
        if options.out is not None:
            draw_race(results["wide_race"], options.out / "wide.png")
