"""Timings of training steps of an MLP at batch 1: by every method of `experiments.mlp`, plain Flax and PyTorch."""

import functools
import itertools
import statistics
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.in_place import Step, in_place
from experiments.bench.options import Bench
from experiments.bench.peer_process import has, torch_seconds
from experiments.bench.peers import flax_mlp
from experiments.bench.random_data import random_digits
from experiments.mlp.config import METHODS, MLPConfig
from experiments.mlp.learner import mlp_learner
from experiments.process.timing import seconds
from experiments.training.compilation import jit
from experiments.training.loop import make_train

_STEPS = 400  # in one loop, as an epoch of the program is
_LAYERS = (3, 7)
_OPTIMIZERS: tuple[Literal["sgd", "adam"], ...] = ("sgd", "adam")
_TORCH = {"torch": "loop", "torch, fused": "fused"}  # the first is PyTorch's default on a CPU
_MEGABYTES = 100


def measure(options: Bench) -> dict[str, Any]:
    """Seconds of a step by round, of every method, depth and optimizer, and of PyTorch where an interpreter has it.

    A step includes all that `experiments.mlp` does in its first 10,000 steps, such as rehashing every 100 steps.
    """
    rounds, python = 2 * options.rounds, options.torch_python
    with_torch = has(python, "torch")
    results: dict[str, Any] = {"bytes_per_second": _bandwidth(rounds), "mlp_step_seconds": {}}
    for layers in _LAYERS:
        for optimizer in _OPTIMIZERS:
            config = MLPConfig(layers=(layers,), optimizer=optimizer, epochs=1)
            timed = {name: _step(name, config) for name in METHODS}
            timed["flax"] = _flax_step(config)
            if with_torch:
                for name, implementation in _TORCH.items():
                    chosen = {"layers": layers, "optimizer": optimizer, "implementation": implementation}
                    timed[name] = functools.partial(torch_seconds, python, "torch_mlp", **chosen)
            own: dict[str, list[float]] = {name: [] for name in timed}
            for _ in range(rounds):
                for name, step in timed.items():
                    own[name].append(step())
            results["mlp_step_seconds"][f"{layers} {optimizer}"] = own
    return results


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a table of medians, ratios to `standard` round by round, and shares of the bound."""
    console.print(f"memory: {results['bytes_per_second'] / 1e9:.0f} GB/s read and written", highlight=False)
    table = Table("layers", "optimizer", "method", "ms", "standard / it", "range", box=box.SIMPLE_HEAD)
    table.title = "MLP of 1,000 units, batch 1, MNIST's shapes: a training step"
    for setting, by_method in results["mlp_step_seconds"].items():
        layers, optimizer = setting.split()
        for name, times in by_method.items():
            ratios = [s / t for s, t in zip(by_method["standard"], times, strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            cells = (f"{1e3 * statistics.median(times):.3f}", f"{statistics.median(ratios):.2f}", spread)
            table.add_row(layers, optimizer, name, *cells)
        share = _least_seconds(int(layers), optimizer, results) / statistics.median(by_method["standard"])
        table.add_row(layers, optimizer, "bound / standard", "", f"{share:.2f}", "", end_section=True)
    console.print(table)


def _least_seconds(layers: int, optimizer: str, results: dict[str, Any]) -> float:
    """The least seconds of an exact step: parameters, and Adam's two moments, are read and written once each."""
    sizes = [28 * 28, *[MLPConfig.width] * layers, 10]
    parameters = sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))
    return parameters * 4 * 2 * {"sgd": 1, "adam": 3}[optimizer] / results["bytes_per_second"]


def _step(name: str, config: MLPConfig) -> Callable[[], float]:
    data = random_digits(_STEPS)
    train = make_train(config, mlp_learner(config, METHODS[name].layers(config), data), data)
    state = jit(train.init)(jax.random.key(0))
    return _seconds_of_a_step(train.epoch, state, data.train, train.rounds[0])


def _flax_step(config: MLPConfig) -> Callable[[], float]:
    data = random_digits(_STEPS)
    (layers,) = config.layers
    init, epoch = flax_mlp.make_epoch(layers, config.width, config.optimizer, config.lr)
    return _seconds_of_a_step(epoch, jit(init)(jax.random.key(0), data.train), data.train)


def _seconds_of_a_step(epoch: Step, state: Any, *arguments: Any) -> Callable[[], float]:
    """Times an epoch that goes on from the last one, and divides by its steps; compiled and run once."""
    call = in_place(epoch, state, *arguments)
    seconds(call)
    return lambda: seconds(call) / _STEPS


def _bandwidth(rounds: int) -> float:
    """Bytes read and written a second by a program that scales a large array in place."""
    call = in_place(lambda a: (a * 1.0001, ()), jnp.ones(_MEGABYTES * 250_000))
    seconds(call)
    return 2e6 * _MEGABYTES / min(seconds(call) for _ in range(10 * rounds))
