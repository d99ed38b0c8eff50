"""Training steps of the programs timed on this machine's device."""

import statistics
from collections.abc import Callable
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.chip_trainings import Training, trainings
from experiments.bench.device_rates import Rates, against, each_by_round
from experiments.bench.options import Bench
from experiments.seeds.compiled import step_flops
from experiments.training.compilation import jit


def measure_steps(options: Bench) -> dict[str, dict[str, Any]]:
    """By network: seconds of a step by round of each variant, and its FLOPs by XLA's count."""
    by_network: dict[str, list[Training]] = {}
    for training in trainings(options):
        by_network.setdefault(training.network, []).append(training)
    found = {}
    for network, each in by_network.items():
        called = {training.variant: _step(training) for training in each}
        flops = {training.variant: step_flops(training.train, training.data) for training in each}
        found[network] = {"seconds": each_by_round(called, options.rounds), "flops": flops}
    return found


def show_steps(results: dict[str, dict[str, Any]], rates: Rates, console: Console) -> None:
    """Prints a table of medians, and of times relative to the first variant's."""
    columns = ("network", "variant", "ms", "/ first", "GFLOP", "TFLOP/s", "of the rate")
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title = "Training steps on this device"
    for network, found in results.items():
        first = next(iter(found["seconds"].values()))
        for variant, times in found["seconds"].items():
            median, flops = statistics.median(times), found["flops"][variant]
            rate = flops / median
            cells = (f"{flops / 1e9:.4g}", f"{rate / 1e12:.3g}", f"{rate / rates.flops:.0%}")
            table.add_row(network, variant, f"{1e3 * median:.3g}", against(times, first), *cells)
        table.add_section()
    console.print(table)


def _step(training: Training) -> Callable[[], Any]:
    """A function that makes one step of the training after the other, all with one batch."""
    train = training.train
    state = jit(train.init)(jax.random.key(0))
    batch = jit(train.first_batch)(state, training.data.train)
    step = jit(train.learner.step, donate_argnums=0)
    latest = [state]

    def advance() -> Any:
        latest[0], metrics = step(latest[0], *batch)
        return metrics

    return advance
