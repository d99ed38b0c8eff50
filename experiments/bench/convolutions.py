"""Timings of single convolutions.

Gradients inside a `scan` are compared with gradients outside, seeds under `vmap` with seeds in turn, and half of the
patch's edges with the exact convolution.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console

from experiments.bench.options import Bench
from experiments.bench.pairs import Pair, measure_pairs, show_pairs
from experiments.process.timing import paired, seconds
from experiments.training.compilation import jit
from jaxapprox import conv, mc_conv


def measure(options: Bench) -> dict[str, Any]:
    """The ratios of `PAIRS`."""
    return measure_pairs(PAIRS, 5 * options.rounds)


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a line for each pair."""
    show_pairs(PAIRS, results, console)


def _operands(seeds: int, batch: int, size: int, channels: int) -> tuple[jax.Array, jax.Array]:
    x_key, kernel_key = jax.random.split(jax.random.key(0))
    x = jax.random.normal(x_key, (batch, size, size, channels))
    return x, jax.random.normal(kernel_key, (seeds, 3, 3, channels, channels)) / np.sqrt(9 * channels)


def _gradients(
    x: jax.Array, kernel: jax.Array, function: Callable[[jax.Array, jax.Array], jax.Array] = conv
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return jax.value_and_grad(lambda x, kernel: jnp.sum(jnp.square(function(x, kernel))), argnums=(0, 1))(x, kernel)


def scan_against_outside(rounds: int) -> dict[str, float]:
    """Compares four forwards and gradients in one scan with four calls.

    The convolution is 3x3, 64 -> 64 channels, on 32x32 images at batch 64.
    """
    x, kernels = _operands(4, 64, 32, 64)
    one = jit(_gradients)

    @jit
    def inside(x, kernels):
        def body(total, kernel):
            value, (dx, dw) = _gradients(x, kernel)
            return jax.tree.map(jnp.add, total, (value, dx, dw)), None

        return lax.scan(body, (jnp.float32(0), jnp.zeros_like(x), jnp.zeros_like(kernels[0])), kernels)[0]

    return paired(lambda: inside(x, kernels), lambda: [one(x, kernel) for kernel in kernels], rounds)


def vmap_against_sequence(rounds: int) -> dict[str, float]:
    """Compares the forwards and gradients of four seeds under `vmap` with four calls.

    The convolution is 3x3, 128 -> 128 channels, on 16x16 images at batch 64.
    """
    x, kernels = _operands(4, 64, 16, 128)
    xs = jnp.stack([x, x + 1, x - 1, -x])
    one, all_at_once = jit(_gradients), jit(jax.vmap(_gradients))
    pairs = list(zip(xs, kernels, strict=True))
    return paired(lambda: all_at_once(xs, kernels), lambda: [one(*pair) for pair in pairs], rounds)


def edges_against_exact(rounds: int) -> dict[str, float]:
    """Compares forward and gradients from half of the patch's edges with those from all of them.

    The convolution is 3x3, 64 -> 64 channels, on 32x32 images at batch 64.
    """
    x, (kernel,) = _operands(1, 64, 32, 64)

    def sampled(x, kernel):
        return mc_conv(jax.random.key(0), x, kernel, ratio=0.5, unit="edge")

    exact, edges = jit(_gradients), jit(functools.partial(_gradients, function=sampled))
    return paired(lambda: edges(x, kernel), lambda: exact(x, kernel), rounds)


def matrix_product_rate(rounds: int) -> float:
    """The FLOP/s of a (2048, 2048) float32 matrix product, which is the best of `rounds`."""
    a = jax.random.normal(jax.random.key(0), (2048, 2048))
    product = jit(jnp.matmul)
    seconds(lambda: product(a, a))
    return 2 * 2048**3 / min(seconds(lambda: product(a, a)) for _ in range(rounds))


PAIRS: dict[str, Pair] = {
    "scan_against_outside": scan_against_outside,
    "vmap_against_sequence": vmap_against_sequence,
    "edges_against_exact": edges_against_exact,
}
