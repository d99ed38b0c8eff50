"""The kernel gradient of a sum over sampled blocks of channels, zero in the others: the kernel for GPUs."""

import math
from typing import Any

import jax
from jax.experimental import pallas as pl

from jaxapprox._src.estimates.fused.convolution import Fused
from jaxapprox._src.estimates.fused.triton.call import call, load, product, store, total_of, weight_of
from jaxapprox._src.estimates.fused.triton.positions import divide, inputs_seen, numbers_of
from jaxapprox._src.estimates.fused.triton.tiles import Axis, Tiles, Work, steps
from jaxapprox._src.estimates.mc import Rows

KINDS = ("x", "y", "kernel")  # of its first factor, its second and its result


def work(fused: Fused, x: Any, g: Any) -> Work:
    """What `kernel_grad` has to do for each tap: rows are channels, columns outputs; it sums over output positions."""
    taps = math.prod(fused.geometry.window)
    return Work(Axis(x.shape[1], fused.block), Axis(g.shape[1]), Axis(g.shape[0]), taps)


def kernel_grad(fused: Fused, tiles: Tiles, rows: Rows, x: jax.Array, g: jax.Array, dtype: Any) -> jax.Array:
    """The gradient by the kernel: each program computes a tile, or writes zeros if its block was not drawn.

    Args:
        fused, tiles, rows, dtype: as for `forward`.
        x: `(examples * inputs, channels)`.
        g: `(examples * positions, outputs)`, of the same dtype.

    Returns:
        `(taps * channels, outputs)`.
    """
    sample = rows.weights, rows.slot_of
    return call(fused, tiles, work(fused, x, g), _block_kernel_grad, sample, x, g, dtype)


def _block_kernel_grad(fused: Fused, tiles: Tiles, weights, slot_of, x, g, dkernel):
    positions, outputs = g.shape
    columns, channels = numbers_of(pl.program_id(0), tiles.columns), numbers_of(pl.program_id(1), tiles.rows)
    tap = pl.program_id(2)
    block, _ = divide(pl.program_id(1), fused.block // tiles.rows)
    weight = weight_of(block, weights, slot_of)
    there = (columns < outputs)[None, :]

    def step(number, total):
        rows = numbers_of(number, tiles.depth)
        inputs, seen = inputs_seen(fused.geometry, rows, positions, tap)
        seen_x = load(x, inputs[:, None], channels[None, :], seen[:, None])
        of_g = load(g, rows[:, None], columns[None, :], seen[:, None] & there)
        return total + product(seen_x, of_g, (0, 0), fused.precision)

    total = total_of(steps(positions, tiles.depth), step, tiles, weight)
    store(dkernel, (tap * x.shape[1] + channels)[:, None], columns[None, :], total * weight, there)
