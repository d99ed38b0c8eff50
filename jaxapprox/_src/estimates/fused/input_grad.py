"""The input gradient of a sum over sampled blocks of channels, zero in the others: the kernel for TPUs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxapprox._src.estimates.fused.call import call, product, sizes_of, without_padding
from jaxapprox._src.estimates.fused.convolution import Fused
from jaxapprox._src.estimates.fused.tiles import Cost, Sizes, Tiles, whole_tiles
from jaxapprox._src.varying import shape_varying_as

KINDS = ("y", "kernel", "x")  # of its first factor, its second and its result


def cost(sizes: Sizes, tiles: Tiles) -> Cost:
    """What `input_grad` costs by these tiles."""
    across_examples, across_outputs = tiles.grid(sizes)
    rows, columns = whole_tiles(tiles.examples, tiles.outputs)
    kernel_times = 1 if tiles.resident or across_outputs * sizes.slots == 1 else across_examples
    g = sizes.positions * sizes.examples * sizes.outputs
    kernel = sizes.taps * sizes.kept * sizes.outputs * kernel_times
    dx = sizes.inputs * sizes.examples * sizes.channels
    of_step = sizes.positions * rows * columns + sizes.taps * sizes.block * columns
    staying = sizes.taps * sizes.kept * across_outputs * columns if tiles.resident else 0
    of_tile = sizes.inputs * rows * (2 * sizes.channels * sizes.out_itemsize + 4 * sizes.kept)
    of_product = 4 * sizes.positions * rows * sizes.block
    return Cost(
        moved=sizes.moved(g, kernel, dx),
        held=(2 * of_step + staying) * sizes.itemsize + of_tile + of_product,
    )


def input_grad(
    fused: Fused, tiles: Tiles, indices: jax.Array, weights: jax.Array, g: jax.Array, kernel: jax.Array, dtype: Any
) -> jax.Array:
    """The gradient by the kernel.

    Args:
        fused, tiles, indices, weights, dtype: as for `forward`.
        g: `(seeds, *out, examples, outputs)`.
        kernel: `(seeds, taps, channels, outputs)`, of the same dtype.

    Returns:
        `(seeds, *in, examples, channels)`, the input's shape as `split_inputs` has it.
    """
    size = sizes_of(fused, KINDS, indices, g, kernel, dtype)
    across_examples, across_outputs = tiles.grid(size)
    rows, columns = tiles.examples, tiles.outputs
    geometry = fused.geometry
    of_inputs, of_outputs = (0,) * len(fused.in_shape), (0,) * len(geometry.window)

    def kernel_block(s, i, o, j, indices, weights):
        if tiles.resident:  # after the first tile of examples it is all there: what was read last is read no more
            o, j = (jnp.where(i == 0, *pair) for pair in ((o, across_outputs - 1), (j, size.slots - 1)))
        return s, 0, indices[s, j], o

    specs = (
        pl.BlockSpec((1, *geometry.out_shape, rows, columns), lambda s, i, o, j, *_: (s, *of_outputs, i, o)),
        pl.BlockSpec((1, size.taps, fused.block, columns), kernel_block),
    )
    scratch = [((size.slots, *fused.in_shape, rows, fused.block), jnp.float32)]
    if tiles.resident:
        scratch.append(((across_outputs, size.slots, size.taps, fused.block, columns), kernel.dtype))
    return call(
        fused,
        functools.partial(_body, fused, size.outputs),
        cost(size, tiles),
        size,
        (size.seeds, across_examples, across_outputs, size.slots),
        specs,
        pl.BlockSpec((1, *fused.in_shape, rows, size.channels), lambda s, i, o, j, *_: (s, *of_inputs, i, 0)),
        scratch,
        shape_varying_as(g, (size.seeds, *fused.in_shape, size.examples, size.channels), dtype),
        indices,
        weights,
        g,
        kernel,
    )


def _body(fused: Fused, outputs: int, indices, weights, g, kernel, dx, totals, resident=None):
    s, i, o, j = map(pl.program_id, range(4))
    columns = g.shape[-1]

    @pl.when(o == 0)
    def begin():
        totals[j] = jnp.zeros(totals.shape[1:], totals.dtype)

    if resident is not None:

        @pl.when(i == 0)
        def keep():
            resident[o, j] = kernel[0]

    @pl.when(weights[s, j] != 0)
    def add():
        for tap in fused.taps:
            seen = g.at[0][tap.outputs]
            of_tap = kernel[0, tap.number] if resident is None else resident.at[o, j][tap.number]
            if outputs % columns:
                seen, of_tap = (without_padding(a, -1, outputs - o * columns) for a in (seen, of_tap))
            term = product(seen, of_tap, (1, 1), fused.precision) * weights[s, j]
            totals.at[j][tap.inputs] += term.reshape(*seen.shape[:-1], -1)

    last = o == pl.num_programs(2) - 1

    @pl.when(last & (j == 0))
    def clear():
        dx[...] = jnp.zeros_like(dx)

    @pl.when(last & (weights[s, j] != 0))  # an unused slot may repeat the index of a used one
    def finish():
        first = pl.multiple_of(indices[s, j] * fused.block, fused.block)
        dx[0, ..., pl.ds(first, fused.block)] = totals[j].astype(dx.dtype)
