"""Timings of training steps of an MLP at batch 1: by every method of `experiments.mlp`, plain Flax and PyTorch."""

import functools
import itertools
import json
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.peers import flax_mlp as flax_mlp_peer
from experiments.data.dataset import Dataset, Split
from experiments.mlp.config import MLPConfig
from experiments.mlp.methods import METHODS, make_learner
from experiments.process.errors import UsageError
from experiments.process.timing import seconds
from experiments.training.compilation import jit
from experiments.training.loop import make_train

_STEPS = 400  # in one loop, as an epoch of the program is
_INK = 0.19  # share of MNIST's pixels that are not 0
_LAYERS = (3, 7)
_OPTIMIZERS: tuple[Literal["sgd", "adam"], ...] = ("sgd", "adam")
_PEER = Path(__file__).parent / "peers" / "torch_mlp.py"
_TORCH = {"torch": "loop", "torch, fused": "fused"}  # the first is PyTorch's default on a CPU
_MEGABYTES = 100


def steps(rounds: int, torch_python: str | None) -> dict[str, Any]:
    """Seconds a step by round, of every method, depth and optimizer, and of PyTorch where an interpreter has it.

    A step has all that `experiments.mlp` does in its first 10,000: hashing anew every 100 steps included.

    Args:
        rounds: how many times each is measured, in turn.
        torch_python: an interpreter with PyTorch, or None.
    """
    results: dict[str, Any] = {"bytes_per_second": _bandwidth(rounds), "mlp_step_seconds": {}}
    for layers in _LAYERS:
        for optimizer in _OPTIMIZERS:
            config = MLPConfig(optimizer=optimizer, epochs=1)
            timed = {name: _step(name, config, layers) for name in METHODS}
            timed["flax"] = _flax_step(config, layers)
            if torch_python is not None:
                for name, implementation in _TORCH.items():
                    timed[name] = functools.partial(_torch_step, torch_python, layers, optimizer, implementation)
            own: dict[str, list[float]] = {name: [] for name in timed}
            for _ in range(rounds):
                for name, step in timed.items():
                    own[name].append(step())
            results["mlp_step_seconds"][f"{layers} {optimizer}"] = own
    return results


def print_steps(results: dict[str, Any], console: Console) -> None:
    """A table of medians, ratios to `standard` round by round, and shares of the bound."""
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
    """Of an exact step: its parameters, and Adam's two moments, each read and written once at the measured rate."""
    sizes = [28 * 28, *[MLPConfig.width] * layers, 10]
    parameters = sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))
    return parameters * 4 * 2 * {"sgd": 1, "adam": 3}[optimizer] / results["bytes_per_second"]


def _step(name: str, config: MLPConfig, layers: int) -> Callable[[], float]:
    data = random_digits()
    train = make_train(config, make_learner(name, config, layers, data), data)
    state = jit(train.init)(jax.random.key(0))
    return _on_its_last_state(train.epoch, state, data.train, train.rounds[0])


def _flax_step(config: MLPConfig, layers: int) -> Callable[[], float]:
    data = random_digits()
    init, epoch = flax_mlp_peer.make_epoch(layers, config.width, config.optimizer, config.lr)
    return _on_its_last_state(epoch, jit(init)(jax.random.key(0), data.train), data.train)


def _on_its_last_state(epoch: Callable[..., Any], state: Any, *arguments: Any) -> Callable[[], float]:
    """Seconds a step of an epoch, in the memory of the one before; compiled and run once."""
    compiled = jit(epoch, donate_argnums=0).lower(state, *arguments).compile()
    kept = [state]

    def call():
        kept[0], metrics = compiled(kept[0], *arguments)
        return kept[0], metrics

    seconds(call)
    return lambda: seconds(call) / _STEPS


def random_digits() -> Dataset:
    """Random images of MNIST's shape and share of ink, with random labels."""
    rng = np.random.default_rng(0)
    shape = (_STEPS, 28, 28, 1)
    images = np.where(rng.random(shape) < _INK, rng.integers(1, 256, shape), 0).astype(np.uint8)
    split = Split(jnp.asarray(images), jnp.asarray(rng.integers(0, 10, _STEPS), jnp.int32))
    return Dataset("random", split, split, 10, crop=0, flip=False)


def _bandwidth(rounds: int) -> float:
    """Bytes read and written a second by a program that scales a large array in place."""
    scale = jit(lambda a: a * 1.0001, donate_argnums=0)
    kept = [jnp.ones(_MEGABYTES * 250_000)]

    def call():
        kept[0] = scale(kept[0])
        return kept[0]

    seconds(call)
    return 2e6 * _MEGABYTES / min(seconds(call) for _ in range(10 * rounds))


def _torch_step(python: str, layers: int, optimizer: str, implementation: str) -> float:
    """Median seconds of a step, in a process of its own."""
    options = ["--layers", str(layers), "--optimizer", optimizer, "--implementation", implementation]
    command = [python, str(_PEER), *options]
    peer = subprocess.run(command, capture_output=True, text=True, check=False)
    if peer.returncode != 0:
        raise UsageError(f"--torch-python: {' '.join(command)} failed: {peer.stderr.strip().splitlines()[-1:]}")
    return json.loads(peer.stdout)["seconds"]
