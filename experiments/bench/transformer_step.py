"""A training step of a transformer: kernel gradients from samples of positions, beside `jax.checkpoint`, and together.

Both let go of what the forward pass has computed: a sample keeps some rows of a layer's input, and saves operations
too; a checkpoint computes anew in the backward pass what it did not keep. Only a sample adds noise. How much of it is
measured on a text, after some exact steps.
"""

import functools
import statistics
from typing import Any

import jax
import numpy as np
import optax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.options import HEAD, Bench
from experiments.bench.transformer_variants import POLICIES, Variant, compiled_step, loss_of
from experiments.characters.config import CharactersConfig
from experiments.characters.data import load_data
from experiments.characters.network import Transformer
from experiments.process.errors import UsageError
from experiments.process.timing import seconds
from experiments.training.compilation import jit
from jaxapprox.efficiency import GradientNoise, StepTime, efficiency, gradient_noise

_RATIOS = (0.5, 0.3, 0.1)
_TOGETHER = 0.3  # the ratio that is measured with checkpoints as well
_EXACT = Variant()
_VARIANTS = (
    _EXACT,
    *(Variant(ratio) for ratio in _RATIOS),
    *(Variant(kept=kept) for kept in POLICIES),
    *(Variant(_TOGETHER, kept) for kept in POLICIES),
)
_OPTIMIZER = optax.adam(1e-3)
_GROUPS = 6  # batches that noise is measured on, and each in so many parts:
_PARTS = 4
_MEBIBYTE = 2**20


def measure(options: Bench) -> dict[str, Any]:
    """Of every variant: seconds of a step by round, FLOPs, bytes beside arguments and results, noise, efficiency."""
    data, _ = load_data(CharactersConfig(window=options.tokens))
    batches = _batches(np.asarray(data.train), options)
    sizes = (options.blocks, options.features, options.features // HEAD, len(data.vocabulary))
    models = {variant: variant.model(*sizes) for variant in _VARIANTS}
    params = jit(functools.partial(models[_EXACT].init, exact=True))(jax.random.key(0), batches[0][:, :-1])
    state = (params, jit(_OPTIMIZER.init)(params))
    steps = {variant: compiled_step(model, _OPTIMIZER, state, batches[0]) for variant, model in models.items()}

    times: dict[Variant, list[float]] = {variant: [] for variant in _VARIANTS}
    for _ in range(1 + options.rounds):
        for variant, step in steps.items():
            times[variant].append(seconds(functools.partial(step.call, state, jax.random.key(1), batches[0])))
    times = {variant: of_variant[1:] for variant, of_variant in times.items()}  # the first warms up
    for number in range(options.train_steps):
        state = steps[_EXACT].call(state, jax.random.key(1), batches[number % len(batches)])
    noise = {ratio: _noise(models[_EXACT], models[Variant(ratio)], state[0], batches) for ratio in _RATIOS}
    exact_time = _time(times[_EXACT], options)
    return {
        "transformer": {
            "sizes": {name: getattr(options, name) for name in ("blocks", "features", "sequences", "tokens")},
            "train_steps": options.train_steps,
            "step_seconds": {variant.name: of_variant for variant, of_variant in times.items()},
            "flops": {variant.name: step.flops for variant, step in steps.items()},
            "temporary_bytes": {variant.name: step.temporary_bytes for variant, step in steps.items()},
            "noise_scale": noise[_TOGETHER].total.noise_scale,
            "added_variance": {str(ratio): (found.total.a, found.total.c) for ratio, found in noise.items()},
            "efficiency": {
                variant.name: efficiency(
                    noise[variant.ratio],
                    exact_time,
                    _time(of_variant, options),
                    [options.sequences],
                    unbiased=True,
                ).at()
                for variant, of_variant in times.items()
                if variant.ratio in noise
            },
        }
    }


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a table of medians, and of each variant relative to the exact step."""
    found = results["transformer"]
    sizes, times = found["sizes"], found["step_seconds"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("variant", "ms", "speed", "GFLOP", "/exact", "MiB", "/exact", "a", "c", "efficiency"):
        table.add_column(heading, no_wrap=True)
    table.title = (
        f"Transformer, {sizes['blocks']} blocks of {sizes['features']}, batch {sizes['sequences']} x"
        f" {sizes['tokens']}: a training step"
    )
    for variant in _VARIANTS:
        name = variant.name
        speed = statistics.median(e / t for e, t in zip(times["exact"], times[name], strict=True))
        cells = [f"{1e3 * statistics.median(times[name]):.0f}", f"{speed:.2f}"]
        for quantity, unit in (("flops", 1e9), ("temporary_bytes", _MEBIBYTE)):
            value, exact = found[quantity][name], found[quantity]["exact"]
            cells += [f"{value / unit:,.0f}", f"{value / exact:.2f}"]
        cells += [f"{value:.2f}" for value, _ in found["added_variance"].get(str(variant.ratio), ())]
        if name in found["efficiency"]:
            value, low, high = found["efficiency"][name]
            cells.append(f"{value:.2f} ({low:.2f}-{high:.2f})")
        table.add_row(name, *cells)
    console.print(table)
    value, error = found["noise_scale"]
    policies = ", ".join(f"{name}: {policy}" for name, policy in POLICIES.items())
    console.print(
        f"kernel: gradients of kernels from that share of the positions. Of each block `jax.checkpoint` keeps what is"
        f" named ({policies}). MiB: beside arguments and results. a, c: variance that sampling adds, relative to the"
        f" batch's own and to the gradient's square, after {found['train_steps']} exact steps, at a noise scale of"
        f" {value:.3g} ± {error:.1g} sequences. efficiency: progress per second over exact, both at this batch size.",
        highlight=False,
    )


def _batches(stretches: np.ndarray, options: Bench) -> np.ndarray:
    """The windows of stretches of text as batches `(batches, sequences, tokens + 1)`, in random order."""
    starts = np.arange(0, stretches.shape[1] - options.tokens, options.tokens)
    windows = stretches[:, starts[:, None] + np.arange(options.tokens + 1)].reshape(-1, options.tokens + 1)
    windows = np.random.default_rng(0).permutation(windows)
    whole = len(windows) // options.sequences
    if whole < _GROUPS:
        most = len(windows) // _GROUPS
        raise UsageError(f"--sequences must be at most {most} for this text, got {options.sequences}")
    return windows[: whole * options.sequences].reshape(whole, options.sequences, -1)


def _noise(exact: Transformer, sampled: Transformer, params: Any, batches: np.ndarray) -> GradientNoise:
    """Of both networks' gradients at these parameters, on the last batches: short training has not seen them."""
    examples = batches[-_GROUPS:].reshape(-1, batches.shape[-1])
    return gradient_noise(
        jax.random.key(2),
        jax.grad(functools.partial(loss_of, exact, jax.random.key(1))),
        jax.grad(functools.partial(loss_of, sampled), argnums=1),
        params,
        examples,
        sizes=(batches.shape[1] // _PARTS, batches.shape[1]),
    )


def _time(times: list[float], options: Bench) -> StepTime:
    """Of a step of this batch size; no other is looked at."""
    return StepTime(0.0, statistics.median(times) / options.sequences)
