"""Seeds per hour against the number of seeds, along each seed axis."""

import functools
import statistics
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.options import Bench
from experiments.bench.random_data import random_cifar, random_digits
from experiments.cifar.config import Config
from experiments.cifar.learner import cnn_learner
from experiments.data.dataset import Dataset
from experiments.mlp.config import MLPConfig
from experiments.mlp.learner import mlp_learner
from experiments.seeds.axis import SeedAxis, make_mesh
from experiments.seeds.compiled import CompiledTraining, compile_training
from experiments.seeds.segments import chunks, numbered_seeds, train_segments
from experiments.seeds.settings import Family, families
from experiments.training.learner import Learner
from experiments.training.options import RunOptions
from experiments.training.task import Task, chosen_methods

_LAYERS = 3
_STEPS, _MLP_STEPS = 8, 400  # of an epoch here
_FULL_EPOCH = {"resnet18": 50_000 // Config.batch_size, "mlp": 60_000}  # steps, on CIFAR-10 and on MNIST


def measure(options: Bench) -> dict[str, Any]:
    """Times all seeds' epochs by round, and compiling, for each network, seed axis and number of seeds.

    An epoch here is short (`steps`); `full_epoch` is that of CIFAR-10 or MNIST. The networks are a ResNet-18 of width
    16 at batch 64, and an MLP of three layers of 1,000 units with Adam at batch 1, both exact.
    """
    results: dict[str, Any] = {}
    networks = {"resnet18": _resnet18, "mlp": _mlp}
    for name in options.sweep_networks:
        family, task = networks[name]()
        runs: dict[tuple[str, int], Callable[[], float]] = {}
        compiling: dict[str, list[float]] = {}
        steps = 0
        for kind, count, training in _trainings(family, task, options.seeds):
            compiling.setdefault(kind, []).append(training.compile_seconds)
            runs[kind, count] = _epoch(training, family, task, count)
            steps = training.steps
        times: dict[str, dict[str, list[float]]] = {axis: {} for axis, _ in runs}
        for _ in range(options.rounds):
            for (axis, count), run in runs.items():
                times[axis].setdefault(str(count), []).append(run())
        own = {"steps": steps, "full_epoch": _FULL_EPOCH[name]}
        results[name] = {**own, "seconds": times, "compile_seconds": compiling}
    return {"sweep": results}


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a table of medians: epochs of one seed an hour, and the cost of a seed relative to one seed in turn."""
    for name, result in results["sweep"].items():
        columns = ("axis", "seeds", "seeds / hour", "a seed / one alone", "range", "compiled in s")
        table = Table(*columns, box=box.SIMPLE_HEAD)
        table.title = f"{name}: an epoch of {result['full_epoch']} steps of each seed, from epochs of {result['steps']}"
        alone = next(iter(result["seconds"].values()))["1"]
        for kind, by_count in result["seconds"].items():
            compiled = iter(result["compile_seconds"][kind])
            spent = ""
            for count, times in by_count.items():
                spent = f"{next(compiled, None):.1f}" if kind != "map" or not spent else "the same"
                costs = [t / int(count) / one for t, one in zip(times, alone, strict=True)]
                each = statistics.median(times) / int(count) * result["full_epoch"] / result["steps"]
                spread = f"{min(costs):.2f} to {max(costs):.2f}"
                table.add_row(kind, count, f"{3600 / each:.4g}", f"{statistics.median(costs):.2f}", spread, spent)
        console.print(table)


def _trainings(
    family: Family, task: Task, counts: tuple[int, ...]
) -> Iterator[tuple[Literal["map", "vmap", "shard"], int, CompiledTraining]]:
    in_turn = compile_training(family, task, SeedAxis("map", 1))
    for count in counts:
        yield "map", count, in_turn
    for count in counts:
        if count > 1:
            yield "vmap", count, compile_training(family, task, SeedAxis("vmap", count))
    devices = len(jax.devices())
    for count in counts:
        if devices > 1 and count % devices == 0:
            mesh = make_mesh((devices, 1), count, family.config.batch_size)
            yield "shard", count, compile_training(family, task, SeedAxis("shard", count, mesh))


def _epoch(training: CompiledTraining, family: Family, task: Task, count: int) -> Callable[[], float]:
    """A function that trains `count` seeds for an epoch and returns the seconds, those of first states left out."""
    axis = training.axis
    train = axis.put(task.data.train, by_seed=False)
    seeds = dict(list(numbered_seeds(family.config).items())[:count])

    def run() -> float:
        spent = 0.0
        for chunk in chunks(family, seeds, axis):
            hyperparameters = axis.put(chunk.hyperparameters, by_seed=True)
            state = jax.block_until_ready(training.init(chunk.hyperparameters, chunk.keys))
            segments = train_segments(training, hyperparameters, state, None, train)
            spent += sum(progress.seconds for progress in segments)
        return spent

    run()
    return run


def _resnet18() -> tuple[Family, Task]:
    config = Config(width=16, epochs=1, seeds=10_000, methods=("exact",))
    return only_family(config, cnn_learner, random_cifar(_STEPS * config.batch_size))


def _mlp() -> tuple[Family, Task]:
    config = MLPConfig(layers=(_LAYERS,), epochs=1, seeds=10_000, methods=("standard",))
    return only_family(config, mlp_learner, random_digits(_MLP_STEPS))


def only_family(config: RunOptions, learner: Callable[..., Learner], data: Dataset) -> tuple[Family, Task]:
    """The settings of the only method, and what is trained on the data."""
    task = Task("", "", data, chosen_methods(config), functools.partial(learner, data=data))
    (family,) = families(config, task.methods)
    return family, task
