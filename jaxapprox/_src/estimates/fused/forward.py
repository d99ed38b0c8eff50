"""The sum over sampled blocks of channels, y = sum_j w_j x[.., block_j] * kernel[block_j]: the kernel for TPUs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxapprox._src.estimates.fused.call import call, product, sizes_of
from jaxapprox._src.estimates.fused.convolution import Fused
from jaxapprox._src.estimates.fused.tiles import Cost, Sizes, Tiles, whole_tiles
from jaxapprox._src.varying import shape_varying_as

KINDS = ("x", "kernel", "y")  # of its first factor, its second and its result


def cost(sizes: Sizes, tiles: Tiles) -> Cost:
    """What `forward` costs by these tiles."""
    across_examples, across_outputs = tiles.grid(sizes)
    rows, columns = whole_tiles(tiles.examples, tiles.outputs)
    x_times = across_outputs if across_examples * sizes.slots > 1 else 1
    kernel_times = 1 if tiles.resident or sizes.slots == 1 else across_examples
    x = sizes.inputs * sizes.examples * sizes.kept * x_times
    kernel = sizes.taps * sizes.kept * sizes.outputs * kernel_times
    y = sizes.positions * sizes.examples * sizes.outputs
    of_step = (sizes.inputs * rows + sizes.taps * columns) * sizes.block
    staying = sizes.taps * sizes.kept * columns if tiles.resident else 0
    of_sum = sizes.positions * rows * columns
    return Cost(
        moved=sizes.moved(x, kernel, y),
        held=(2 * of_step + staying) * sizes.itemsize + of_sum * (2 * sizes.out_itemsize + 8),
    )


def forward(
    fused: Fused, tiles: Tiles, indices: jax.Array, weights: jax.Array, x: jax.Array, kernel: jax.Array, dtype: Any
) -> jax.Array:
    """The sum by the kernel.

    Args:
        fused: the convolution.
        tiles: how the work is divided.
        indices: `(seeds, slots)` int32, the sampled blocks.
        weights: `(seeds, slots)` float32; a slot of weight 0 adds nothing.
        x: `(seeds, *in, examples, channels)`, the input's shape as `split_inputs` has it.
        kernel: `(seeds, taps, channels, outputs)`, of the same dtype.
        dtype: of the result.

    Returns:
        `(seeds, *out, examples, outputs)`.
    """
    size = sizes_of(fused, KINDS, indices, x, kernel, dtype)
    across_examples, across_outputs = tiles.grid(size)
    rows, columns, last = tiles.examples, tiles.outputs, size.slots - 1
    geometry = fused.geometry
    of_inputs, of_outputs = (0,) * len(fused.in_shape), (0,) * len(geometry.window)

    def kernel_block(s, o, i, j, indices, weights):
        return s, 0, indices[s, jnp.where(i == 0, j, last) if tiles.resident else j], o

    specs = (
        pl.BlockSpec((1, *fused.in_shape, rows, fused.block), lambda s, o, i, j, d, _: (s, *of_inputs, i, d[s, j])),
        pl.BlockSpec((1, size.taps, fused.block, columns), kernel_block),
    )
    of_sum = (*geometry.out_shape, rows, columns)
    scratch = [(of_sum, jnp.float32)]
    if tiles.resident:
        scratch.append(((size.slots, size.taps, fused.block, columns), kernel.dtype))
    return call(
        fused,
        functools.partial(_body, fused),
        cost(size, tiles),
        size,
        (size.seeds, across_outputs, across_examples, size.slots),
        specs,
        pl.BlockSpec((1, *of_sum), lambda s, o, i, j, *_: (s, *of_outputs, i, o)),
        scratch,
        shape_varying_as(x, (size.seeds, *geometry.out_shape, size.examples, size.outputs), dtype),
        indices,
        weights,
        x,
        kernel,
    )


def _body(fused: Fused, indices, weights, x, kernel, y, total, resident=None):
    s, i, j = (pl.program_id(axis) for axis in (0, 2, 3))

    @pl.when(j == 0)
    def begin():
        total[...] = jnp.zeros_like(total)

    if resident is not None:

        @pl.when(i == 0)
        def keep():
            resident[j] = kernel[0]

    @pl.when(weights[s, j] != 0)
    def add():
        for tap in fused.taps:
            seen = x.at[0][tap.inputs]
            of_tap = kernel[0, tap.number] if resident is None else resident.at[j][tap.number]
            term = product(seen, of_tap, (1, 0), fused.precision) * weights[s, j]
            total[tap.outputs] += term.reshape(*seen.shape[:-1], -1)

    @pl.when(j == pl.num_programs(3) - 1)
    def finish():
        y[0] = total[...].astype(y.dtype)
