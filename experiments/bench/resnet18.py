"""Timings of a training step of ResNet-18: exact and sampled, against plain Flax and PyTorch.

The bound that the table shows is the images per second if all FLOPs ran at the measured rate of a matrix product and
nothing else took time.
"""

import statistics
from collections.abc import Callable
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.convolutions import matrix_product_rate
from experiments.bench.options import Bench
from experiments.bench.peer_process import has, torch_seconds
from experiments.bench.peers import flax_resnet
from experiments.bench.random_data import random_cifar
from experiments.cifar.config import METHODS, Config
from experiments.cifar.learner import cnn_learner
from experiments.process.timing import seconds
from experiments.seeds.compiled import step_flops
from experiments.training.compilation import jit
from experiments.training.loop import make_train

_STEPS = 4  # in one scan, as an epoch of the program is
# The mode and sampler of the PyTorch peer first: channels by top-k, gradients through the kept ones.
_MC_VARIANTS = (("forward", "topk"), ("forward", "systematic"), ("backward", "systematic"))


def measure(options: Bench) -> dict[str, Any]:
    """Seconds of a step by round, of every variant; FLOPs of a step of ours; the rate of a matrix product."""
    rate = matrix_product_rate(5 * options.rounds)
    timed: dict[str, Callable[[], float]] = {}
    flops = {}
    for name, (method, config) in _configs(options).items():
        timed[name], flops[name] = _our_step(method, config)
    plain = flax_resnet.make_step(options.width, options.batch_size)
    seconds(plain)
    timed["flax"] = lambda: seconds(plain)
    with_torch = has(options.torch_python, "torch")
    peer_ratio = {"exact": 1.0, **{f"mc {ratio} forward topk": ratio for ratio in options.ratios}}
    steps: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, step in timed.items():
            steps.setdefault(name, []).append(step())
            if with_torch and name in peer_ratio:
                for memory_format, step_seconds in _torch_steps(options, peer_ratio[name]).items():
                    steps.setdefault(f"torch {peer_ratio[name]} {memory_format}", []).append(step_seconds)
    return {"matrix_product_flops_per_second": rate, "resnet18": {"step_seconds": steps, "flops": flops}}


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a table of images per second, and of speeds relative to the exact step, to Flax and to PyTorch."""
    rate = results["matrix_product_flops_per_second"]
    steps, flops = results["resnet18"]["step_seconds"], results["resnet18"]["flops"]
    console.print(f"matrix product: {rate / 1e9:.0f} GFLOP/s", highlight=False)
    table = Table("variant", "ms", "images/s", "bound", "/ exact", "/ Flax", "/ PyTorch", box=box.SIMPLE_HEAD)
    table.title = (
        f"ResNet-18, width {options.width}, batch {options.batch_size}: images/s, and speed relative to others"
    )
    for name, times in steps.items():
        ratio = name.split()[1] if " " in name else "1.0"
        formats = [t for n, t in steps.items() if n.startswith(f"torch {ratio} ")]
        against: list[list[float] | None] = [
            steps["exact"],
            steps["flax"],
            min(formats, key=statistics.median) if formats else None,
        ]
        quotients = ["" if other is None else f"{_speed(times, other):.2f}" for other in against]
        bound = f"{options.batch_size * rate / flops[name]:.1f}" if name in flops else ""
        median = statistics.median(times)
        table.add_row(name, f"{1e3 * median:.0f}", f"{options.batch_size / median:.1f}", bound, *quotients)
    console.print(table)


def _configs(options: Bench) -> dict[str, tuple[str, Config]]:
    """The method and the options of each variant, by its name."""

    def config(**mc: Any) -> Config:
        return Config(width=options.width, batch_size=options.batch_size, epochs=1, **mc)

    sampled = {
        f"mc {ratio} {mode} {sampler}": ("mc", config(ratios=(ratio,), mode=mode, samplers=(sampler,)))
        for ratio in options.ratios
        for mode, sampler in _MC_VARIANTS
    }
    return {"exact": ("exact", config()), **sampled}


def _our_step(method: str, config: Config) -> tuple[Callable[[], float], float]:
    """Seconds of a training step of `experiments.cifar` (augmentation included), and its FLOPs."""
    data = random_cifar(_STEPS * config.batch_size)
    train = make_train(config, cnn_learner(config, METHODS[method].layers(config), data), data)
    state = jit(train.init)(jax.random.key(0))
    rounds = train.rounds[0]
    epoch = jit(train.epoch).lower(state, data.train, rounds).compile()
    seconds(lambda: epoch(state, data.train, rounds))
    flops = step_flops(train, data)
    return lambda: seconds(lambda: epoch(state, data.train, rounds)) / _STEPS, flops


def _torch_steps(options: Bench, ratio: float) -> dict[str, float]:
    """Median seconds of a step of PyTorch by memory format."""
    return torch_seconds(
        options.torch_python, "torch_resnet", width=options.width, batch_size=options.batch_size, ratio=ratio
    )


def _speed(times: list[float], reference: list[float]) -> float:
    """How many times as fast as the reference: the median over rounds."""
    return statistics.median(r / t for t, r in zip(times, reference, strict=True))
