"""What the three kernels share: a call of Pallas, loads and stores of tiles, and their product."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxapprox._src.estimates.fused.convolution import Fused
from jaxapprox._src.estimates.fused.triton.tiles import STAGES, Tiles, Work
from jaxapprox._src.varying import shape_varying_as


def call(
    fused: Fused,
    tiles: Tiles,
    work: Work,
    body: Callable[..., None],
    sample: Sequence[jax.Array],
    a: jax.Array,
    b: jax.Array,
    dtype: Any,
) -> jax.Array:
    """Runs a kernel; its operands and its result are whole arrays, of which it loads and stores tiles.

    Its grid runs over tiles of columns, which change fastest as rows are many, of rows, and over the other results.

    Args:
        fused: the convolution.
        tiles: how the work is divided.
        work: what is to be done.
        body: the kernel, a function of `fused`, `tiles`, operands and result.
        sample: its first operands.
        a, b: its factors.
        dtype: of the result.

    Returns:
        `(others * rows, columns)`.
    """
    across_rows, across_columns = tiles.grid(work)
    return pl.pallas_call(
        functools.partial(body, fused, tiles),
        out_shape=shape_varying_as(a, (work.others * work.rows.size, work.columns.size), dtype),
        grid=(across_columns, across_rows, work.others),
        compiler_params=plgpu.CompilerParams(num_warps=tiles.warps, num_stages=STAGES),
        interpret=fused.interpret,
    )(*sample, a, b)


def load(a: Any, rows: jax.Array, columns: jax.Array, there: jax.Array) -> jax.Array:
    """The entries of the matrix `a` at rows `(m, 1)` and columns `(1, n)`; zeros, and no copy, where none is there."""
    shape = (rows.shape[0], columns.shape[1])
    at = tuple(jnp.broadcast_to(index, shape) for index in (rows, columns))
    return plgpu.load(a.at[at], mask=jnp.broadcast_to(there, shape), other=0)


def store(a: Any, rows: jax.Array, columns: jax.Array, values: jax.Array, there: jax.Array) -> None:
    """Sets the entries of the matrix `a` at rows `(m, 1)` and columns `(1, n)`, where they are there."""
    at = tuple(jnp.broadcast_to(index, values.shape) for index in (rows, columns))
    plgpu.store(a.at[at], values.astype(a.dtype), mask=jnp.broadcast_to(there, values.shape))


def product(a: jax.Array, b: jax.Array, contracted: tuple[int, int], precision: Any) -> jax.Array:
    """The product of two matrices along an axis of each, in float32."""
    axes = (((contracted[0],), (contracted[1],)), ((), ()))
    return lax.dot_general(a, b, axes, precision=precision, preferred_element_type=jnp.float32)


def total_of(steps: int, step: Callable[[jax.Array, jax.Array], jax.Array], tiles: Tiles, weight: Any = 1) -> jax.Array:
    """What `step(number, total)` makes of zeros, float32, in so many steps; in none if the weight is 0."""
    zeros = jnp.zeros((tiles.rows, tiles.columns), jnp.float32)
    # Not jnp.where of two integers, which Triton's lowering makes bits of.
    needed = steps * jnp.asarray(weight != 0).astype(jnp.int32)
    return lax.fori_loop(jnp.int32(0), needed, step, zeros)


def weight_of(block: jax.Array, weights: Any, slot_of: Any) -> jax.Array:
    """The weight of a block of channels: 0 if it was not drawn."""
    slots = weights.shape[0]
    slot = slot_of[block]
    weight = weights[jnp.minimum(slot, slots - 1)]
    return lax.select(slot < slots, weight, jnp.zeros_like(weight))
