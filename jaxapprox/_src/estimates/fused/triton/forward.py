"""The sum over sampled blocks of channels, y = sum_j w_j x[.., block_j] * kernel[block_j]: the kernel for GPUs."""

import math
from typing import Any

import jax
from jax.experimental import pallas as pl

from jaxapprox._src.estimates.fused.convolution import Fused
from jaxapprox._src.estimates.fused.triton.call import call, load, product, store, total_of
from jaxapprox._src.estimates.fused.triton.positions import divide, examples_of, inputs_seen, numbers_of
from jaxapprox._src.estimates.fused.triton.tiles import Axis, Tiles, Work
from jaxapprox._src.estimates.mc import Rows

KINDS = ("x", "kernel", "y")  # of its first factor, its second and its result


def work(fused: Fused, x: Any, kernel: Any) -> Work:
    """What `forward` has to do: rows are output positions, columns outputs; it sums over channels."""
    geometry = fused.geometry
    rows = examples_of(x.shape[0], geometry.in_shape) * math.prod(geometry.out_shape)
    return Work(Axis(rows), Axis(kernel.shape[1]), Axis(x.shape[1], fused.block))


def forward(fused: Fused, tiles: Tiles, rows: Rows, x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    """The sum by the kernel.

    Args:
        fused: the convolution.
        tiles: how the work is divided.
        rows: the sampled blocks; weights float32, and a slot of weight 0 adds nothing.
        x: `(examples * inputs, channels)`.
        kernel: `(taps * channels, outputs)`, of the same dtype.
        dtype: of the result.

    Returns:
        `(examples * positions, outputs)`.
    """
    sample = rows.indices, rows.weights
    return call(fused, tiles, work(fused, x, kernel), _block_sum, sample, x, kernel, dtype)


def _block_sum(fused: Fused, tiles: Tiles, indices, weights, x, kernel, y):
    count, outputs = y.shape
    rows, columns = numbers_of(pl.program_id(1), tiles.rows), numbers_of(pl.program_id(0), tiles.columns)
    taps, parts = math.prod(fused.geometry.window), fused.block // tiles.depth

    def step(number, total):
        number, tap = divide(number, taps)
        slot, part = divide(number, parts)
        weight = weights[slot]
        used = weight != 0  # an unused slot is not read, whatever is there
        channels = numbers_of(indices[slot] * parts + part, tiles.depth)
        inputs, seen = inputs_seen(fused.geometry, rows, count, tap)
        seen_x = load(x, inputs[:, None], channels[None, :], (seen & used)[:, None])
        of_tap = tap * x.shape[1] + channels
        of_kernel = load(kernel, of_tap[:, None], columns[None, :], ((columns < outputs) & used)[None, :])
        return total + product(seen_x, of_kernel, (1, 0), fused.precision) * weight

    total = total_of(indices.shape[0] * parts * taps, step, tiles)
    store(y, rows[:, None], columns[None, :], total, (rows < count)[:, None] & (columns < outputs)[None, :])
