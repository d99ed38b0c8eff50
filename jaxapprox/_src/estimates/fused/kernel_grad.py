"""The kernel gradient of a sum over sampled blocks of channels, zero in the others: the kernel for TPUs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxapprox._src.estimates.fused.call import call, product, sizes_of, without_padding
from jaxapprox._src.estimates.fused.convolution import Fused
from jaxapprox._src.estimates.fused.tiles import Cost, Sizes, Tiles, whole_tiles
from jaxapprox._src.varying import shape_varying_as

KINDS = ("x", "y", "kernel")  # of its first factor, its second and its result


def cost(sizes: Sizes, tiles: Tiles) -> Cost:
    """What `kernel_grad` costs by these tiles."""
    across_examples, across_outputs = tiles.grid(sizes)
    rows, columns = whole_tiles(tiles.examples, tiles.outputs)
    x_times = 1 if tiles.resident or across_examples * sizes.slots == 1 else across_outputs
    x = sizes.inputs * sizes.examples * sizes.kept * x_times
    g = sizes.positions * sizes.examples * sizes.outputs
    dkernel = sizes.taps * sizes.channels * sizes.outputs
    of_step = sizes.inputs * rows * sizes.block + sizes.positions * rows * columns
    staying = sizes.inputs * across_examples * rows * sizes.kept if tiles.resident else 0
    of_tile = sizes.taps * columns * (2 * sizes.channels * sizes.out_itemsize + 4 * sizes.kept)
    return Cost(
        moved=sizes.moved(x, g, dkernel),
        held=(2 * of_step + staying) * sizes.itemsize + of_tile + 4 * sizes.block * columns,
    )


def kernel_grad(
    fused: Fused, tiles: Tiles, indices: jax.Array, weights: jax.Array, x: jax.Array, g: jax.Array, dtype: Any
) -> jax.Array:
    """The gradient by the kernel.

    Args:
        fused, tiles, indices, weights, dtype: as for `forward`.
        x: `(seeds, *in, examples, channels)`, the input's shape as `split_inputs` has it.
        g: `(seeds, *out, examples, outputs)`, of the same dtype.

    Returns:
        `(seeds, taps, channels, outputs)`.
    """
    size = sizes_of(fused, KINDS, indices, x, g, dtype)
    across_examples, across_outputs = tiles.grid(size)
    rows, columns = tiles.examples, tiles.outputs
    geometry = fused.geometry
    of_inputs, of_outputs = (0,) * len(fused.in_shape), (0,) * len(geometry.window)

    def x_block(s, o, i, j, indices, weights):
        if tiles.resident:  # after the first tile of outputs it is all there: what was read last is read no more
            i, j = (jnp.where(o == 0, *pair) for pair in ((i, across_examples - 1), (j, size.slots - 1)))
        return s, *of_inputs, i, indices[s, j]

    of_block = (*fused.in_shape, rows, fused.block)
    specs = (
        pl.BlockSpec((1, *of_block), x_block),
        pl.BlockSpec((1, *geometry.out_shape, rows, columns), lambda s, o, i, j, *_: (s, *of_outputs, i, o)),
    )
    scratch: list[tuple[tuple[int, ...], Any]] = [((size.slots, size.taps, fused.block, columns), jnp.float32)]
    if tiles.resident:
        scratch.append(((across_examples, size.slots, *of_block), x.dtype))
    return call(
        fused,
        functools.partial(_body, fused, size.examples),
        cost(size, tiles),
        size,
        (size.seeds, across_outputs, across_examples, size.slots),
        specs,
        pl.BlockSpec((1, size.taps, size.channels, columns), lambda s, o, i, j, *_: (s, 0, 0, o)),
        scratch,
        shape_varying_as(x, (size.seeds, size.taps, size.channels, size.outputs), dtype),
        indices,
        weights,
        x,
        g,
    )


def _body(fused: Fused, examples: int, indices, weights, x, g, dkernel, totals, resident=None):
    s, o, i, j = map(pl.program_id, range(4))
    rows = x.shape[-2]

    @pl.when(i == 0)
    def begin():
        totals[j] = jnp.zeros(totals.shape[1:], totals.dtype)

    if resident is not None:

        @pl.when(o == 0)
        def keep():
            resident[i, j] = x[0]

    of_sample = x.at[0] if resident is None else resident.at[i, j]

    @pl.when(weights[s, j] != 0)
    def add():
        for tap in fused.taps:
            seen, of_outputs = of_sample[tap.inputs], g.at[0][tap.outputs]
            if examples % rows:
                seen, of_outputs = (without_padding(a, -2, examples - i * rows) for a in (seen, of_outputs))
            totals.at[j][tap.number] += product(seen, of_outputs, (0, 0), fused.precision)

    last = i == pl.num_programs(2) - 1

    @pl.when(last & (j == 0))
    def clear():
        dkernel[...] = jnp.zeros_like(dkernel)

    @pl.when(last & (weights[s, j] != 0))  # an unused slot may repeat the index of a used one
    def finish():
        first = pl.multiple_of(indices[s, j] * fused.block, fused.block)
        dkernel[0, :, pl.ds(first, fused.block), :] = (totals[j] * weights[s, j]).astype(dkernel.dtype)
