"""The input gradient of a sum over sampled blocks of channels, zero in the others: the kernel for GPUs."""

import math
from typing import Any

import jax
from jax.experimental import pallas as pl

from jaxapprox._src.estimates.fused.convolution import Fused
from jaxapprox._src.estimates.fused.triton.call import call, load, product, store, total_of, weight_of
from jaxapprox._src.estimates.fused.triton.positions import divide, examples_of, numbers_of, outputs_reached
from jaxapprox._src.estimates.fused.triton.tiles import Axis, Tiles, Work, steps
from jaxapprox._src.estimates.mc import Rows

KINDS = ("y", "kernel", "x")  # of its first factor, its second and its result


def work(fused: Fused, g: Any, kernel: Any) -> Work:
    """What `input_grad` has to do: rows are input positions, columns channels; it sums over outputs."""
    geometry = fused.geometry
    rows = examples_of(g.shape[0], geometry.out_shape) * math.prod(geometry.in_shape)
    channels = kernel.shape[0] // math.prod(geometry.window)
    return Work(Axis(rows), Axis(channels, fused.block), Axis(g.shape[1]))


def input_grad(fused: Fused, tiles: Tiles, rows: Rows, g: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    """The gradient by the kernel: each program computes a tile, or writes zeros if its block was not drawn.

    Args:
        fused, tiles, rows, dtype: as for `forward`.
        g: `(examples * positions, outputs)`.
        kernel: `(taps * channels, outputs)`, of the same dtype.

    Returns:
        `(examples * inputs, channels)`.
    """
    sample = rows.weights, rows.slot_of
    return call(fused, tiles, work(fused, g, kernel), _block_input_grad, sample, g, kernel, dtype)


def _block_input_grad(fused: Fused, tiles: Tiles, weights, slot_of, g, kernel, dx):
    count, all_channels = dx.shape
    outputs = g.shape[1]
    rows, channels = numbers_of(pl.program_id(1), tiles.rows), numbers_of(pl.program_id(0), tiles.columns)
    block, _ = divide(pl.program_id(0), fused.block // tiles.columns)
    weight = weight_of(block, weights, slot_of)
    taps = math.prod(fused.geometry.window)

    def step(number, total):
        part, tap = divide(number, taps)
        columns = numbers_of(part, tiles.depth)
        positions, reached = outputs_reached(fused.geometry, rows, count, tap)
        there = (columns < outputs)[None, :]
        of_g = load(g, positions[:, None], columns[None, :], reached[:, None] & there)
        of_kernel = load(kernel, (tap * all_channels + channels)[:, None], columns[None, :], there)
        return total + product(of_g, of_kernel, (1, 1), fused.precision)

    total = total_of(taps * steps(outputs, tiles.depth), step, tiles, weight)
    store(dx, rows[:, None], channels[None, :], total * weight, (rows < count)[:, None])
