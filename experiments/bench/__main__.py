"""Speed on this machine: a table and a JSON file, everything in one run and in turn.

    python -m experiments.bench --torch-python /path/to/python-with-torch --out bench

(a) the gradient of `conv` inside `scan` against outside, (b) four seeds vmapped against four in sequence, and half of
the edges against the exact convolution, (c) a training step of ResNet-18, exact and sampled, against plain Flax and
(where an interpreter has it) PyTorch, (d) the bound: images a second if all FLOPs ran at the measured rate of a matrix
product and nothing else took time, (e) hashed dense layers against exact ones, (f) a training step of an MLP at batch 1
by every method of `experiments.mlp`, (g) seeds per hour along each seed axis.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench import convolutions
from experiments.bench import hashed_layers as bench_hashing
from experiments.bench import mlp_step as bench_mlp
from experiments.bench import seeds as bench_sweep
from experiments.bench.peers import flax_resnet as flax_peer
from experiments.cifar.config import Config
from experiments.cifar.learner import make_learner
from experiments.data.dataset import Dataset, Split
from experiments.process.environment import environment
from experiments.process.errors import UsageError
from experiments.process.exits import output_directory, run
from experiments.process.timing import seconds
from experiments.seeds.compiled import step_flops
from experiments.training.compilation import jit
from experiments.training.loop import make_train
from experiments.training.options import check_at_least

_STEPS = 4  # in one scan, as an epoch of the program is
_TORCH_PEER = Path(__file__).parent / "peers" / "torch_resnet.py"


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measures this library's speed against its own exact form, plain Flax and PyTorch."""

    width: int = 64
    batch_size: int = 128
    ratios: tuple[float, ...] = (0.5, 0.25, 0.1)
    rounds: int = 3
    """How many times everything is measured, in turn."""
    torch_python: str = sys.executable
    """An interpreter that has PyTorch, where this one has not."""
    parts: tyro.conf.Positional[tuple[Literal["kernels", "resnet18", "hashing", "mlp", "sweep"], ...]] = (
        "kernels",
        "resnet18",
        "hashing",
        "mlp",
        "sweep",
    )
    """What to measure: (a) and (b), (c) and (d), (e), (f), (g)."""
    seeds: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of seeds in (g); the first must be 1."""
    out: Path | None = None
    """Directory for bench.json."""


def main(bench: Bench) -> None:
    """Runs all parts, prints the table and writes `bench.json`.

    Raises:
        UsageError: if a value is out of its range, or `--out` or `--torch-python` can't be used.
    """
    check_at_least(1, bench, "width", "batch_size", "rounds")
    if not all(0 < ratio < 1 for ratio in bench.ratios):
        raise UsageError(f"--ratios must be in (0, 1), got {' '.join(map(str, bench.ratios))}")
    if bench.seeds[:1] != (1,) or min(bench.seeds) < 1:
        raise UsageError(f"--seeds must be 1 and numbers above it, got {' '.join(map(str, bench.seeds)) or 'none'}")
    if bench.out is not None:
        with output_directory(bench.out):
            (bench.out / "bench.json").touch()
    results: dict[str, Any] = {"environment": environment()}
    for part in bench.parts:
        results |= _PARTS[part](bench)
        if bench.out is not None:
            (bench.out / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    _print(bench, results)


def _kernels(bench: Bench) -> dict[str, Any]:
    return {name: pair(5 * bench.rounds) for name, pair in convolutions.PAIRS.items()}


def _hashing(bench: Bench) -> dict[str, Any]:
    return {
        **{name: pair(5 * bench.rounds) for name, pair in bench_hashing.PAIRS.items()},
        "comparison_against_buckets": bench_hashing.comparison_against_buckets(5 * bench.rounds),
        "queries": bench_hashing.queries(bench.rounds),
    }


def _mlp(bench: Bench) -> dict[str, Any]:
    with_torch = _has_torch(bench.torch_python)
    return bench_mlp.steps(2 * bench.rounds, bench.torch_python if with_torch else None)


def _sweep(bench: Bench) -> dict[str, Any]:
    return bench_sweep.seeds_per_hour(bench.rounds, bench.seeds)


def _resnet18(bench: Bench) -> dict[str, Any]:
    """Seconds a step, by round, of every variant; FLOPs a step of ours; the rate of a matrix product."""
    rate = convolutions.matrix_product_rate(5 * bench.rounds)
    mc = [(ratio, mode, sampler) for ratio in bench.ratios for mode, sampler in _MC_VARIANTS]
    configs = {"exact": ("exact", _config(bench))}
    for ratio, mode, sampler in mc:
        configs[f"mc {ratio} {mode} {sampler}"] = (
            "mc",
            _config(bench, ratios=(ratio,), mode=mode, samplers=(sampler,)),
        )
    timed: dict[str, Callable[[], float]] = {}
    flops = {}
    for name, (method, config) in configs.items():
        timed[name], flops[name] = _our_step(method, config)
    plain = flax_peer.make_step(bench.width, bench.batch_size)
    seconds(plain)
    timed["flax"] = lambda: seconds(plain)
    with_torch = _has_torch(bench.torch_python)
    peer_ratio = {"exact": 1.0, **{f"mc {ratio} forward topk": ratio for ratio in bench.ratios}}
    steps: dict[str, list[float]] = {}
    for _ in range(bench.rounds):
        for name, step in timed.items():
            steps.setdefault(name, []).append(step())
            if with_torch and name in peer_ratio:
                for memory_format, step_seconds in _torch_step(bench, peer_ratio[name]).items():
                    steps.setdefault(f"torch {peer_ratio[name]} {memory_format}", []).append(step_seconds)
    return {"matrix_product_flops_per_second": rate, "resnet18": {"step_seconds": steps, "flops": flops}}


_PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "kernels": _kernels,
    "resnet18": _resnet18,
    "hashing": _hashing,
    "mlp": _mlp,
    "sweep": _sweep,
}

# The peer's own scheme first: channels by top-k, gradients through the kept ones.
_MC_VARIANTS = (("forward", "topk"), ("forward", "systematic"), ("backward", "systematic"))


def _config(bench: Bench, **mc: Any) -> Config:
    return Config(width=bench.width, batch_size=bench.batch_size, epochs=1, **mc)


def _our_step(method: str, config: Config) -> tuple[Callable[[], float], float]:
    """Seconds of a training step of `experiments.cifar` (augmentation included), and its FLOPs."""
    n = _STEPS * config.batch_size
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8)
    split = Split(jnp.asarray(images), jnp.arange(n, dtype=jnp.int32) % 10)
    data = Dataset("random", split, split, 10, crop=2, flip=True)
    learner = make_learner(method, config, data)
    train = make_train(config, learner, data)
    state = jax.jit(train.init)(jax.random.key(0))
    rounds = train.rounds[0]
    epoch = jit(train.epoch).lower(state, split, rounds).compile()
    seconds(lambda: epoch(state, split, rounds))
    return lambda: seconds(lambda: epoch(state, split, rounds)) / _STEPS, step_flops(config, learner, data)


def _has_torch(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    except OSError as error:
        raise UsageError(f"--torch-python must be an interpreter, got {python} ({error.strerror})") from error


def _torch_step(bench: Bench, ratio: float) -> dict[str, float]:
    """Median seconds of a step by memory format, in a process of its own."""
    sizes = ["--width", str(bench.width), "--batch-size", str(bench.batch_size), "--ratio", str(ratio)]
    command = [bench.torch_python, str(_TORCH_PEER), *sizes]
    peer = subprocess.run(command, capture_output=True, text=True, check=False)
    if peer.returncode != 0:
        raise UsageError(f"--torch-python: {' '.join(command)} failed: {peer.stderr.strip().splitlines()[-1:]}")
    return json.loads(peer.stdout)["seconds"]


def _print(bench: Bench, results: dict[str, Any]) -> None:
    console = Console(width=max(Console().width, 90))  # room for the longest variant on a line
    for name in (*convolutions.PAIRS, *bench_hashing.PAIRS):
        if name in results:
            r = results[name]
            console.print(f"{name}: {r['ratio']:.2f} ({r['ratio_min']:.2f} to {r['ratio_max']:.2f})", highlight=False)
    if "queries" in results:
        _print_queries(console, results)
    if "mlp_step_seconds" in results:
        bench_mlp.print_steps(results, console)
    if "sweep" in results:
        bench_sweep.print_seeds(results, console)
    if "resnet18" in results:
        _print_resnet18(bench, results, console)


def _print_queries(console: Console, results: dict[str, Any]) -> None:
    for units, ratio in results["comparison_against_buckets"].items():
        console.print(f"comparing codes / collecting buckets, {units} units: {ratio:.2f}", highlight=False)
    table = Table("L", "K", "build s", "build MB", "query ms", "query MB", "exact product ms", box=box.SIMPLE_HEAD)
    table.title = "670,000 units x 128 features, 0.5 % active, batch 128: milliseconds an example"
    for q in results["queries"]:
        sizes = (f"{q['build_seconds']:.2f}", f"{q['build_megabytes']:.0f}")
        query = (f"{1e3 * q['query_seconds']:.2f}", f"{q['query_megabytes']:.0f}", f"{1e3 * q['product_seconds']:.2f}")
        table.add_row(str(q["num_tables"]), str(q["num_bits"]), *sizes, *query)
    console.print(table)


def _print_resnet18(bench: Bench, results: dict[str, Any], console: Console) -> None:
    rate = results["matrix_product_flops_per_second"]
    steps, flops = results["resnet18"]["step_seconds"], results["resnet18"]["flops"]
    console.print(f"matrix product: {rate / 1e9:.0f} GFLOP/s", highlight=False)
    table = Table("variant", "ms", "images/s", "bound", "/ exact", "/ Flax", "/ PyTorch", box=box.SIMPLE_HEAD)
    table.title = f"ResNet-18, width {bench.width}, batch {bench.batch_size}: images/s, and speed relative to others"
    for name, times in steps.items():
        ratio = name.split()[1] if " " in name else "1.0"
        formats = [t for n, t in steps.items() if n.startswith(f"torch {ratio} ")]
        against: list[list[float] | None] = [
            steps["exact"],
            steps["flax"],
            min(formats, key=statistics.median) if formats else None,
        ]
        quotients = ["" if other is None else f"{_speed(times, other):.2f}" for other in against]
        bound = f"{bench.batch_size * rate / flops[name]:.1f}" if name in flops else ""
        median = statistics.median(times)
        table.add_row(name, f"{1e3 * median:.0f}", f"{bench.batch_size / median:.1f}", bound, *quotients)
    console.print(table)


def _speed(times: list[float], reference: list[float]) -> float:
    """How many times as fast as the reference: the median over rounds."""
    return statistics.median(r / t for t, r in zip(times, reference, strict=True))


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Bench, prog="python -m experiments.bench")))
