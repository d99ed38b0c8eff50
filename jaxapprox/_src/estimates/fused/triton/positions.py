"""Rows of a convolution's operands: an example's positions one after another, as they are in memory."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.estimates.geometry import Geometry


def inputs_seen(geometry: Geometry, outputs: jax.Array, count: int, tap: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rows of the input that output rows see through a tap.

    Args:
        geometry: of the convolution.
        outputs: `(rows,)` int32, rows of the output.
        count: how many there are: further ones see nothing.
        tap: the tap's place in the flattened window, a scalar.

    Returns:
        Rows of the input, and whether each is one: a tap that meets padding sees none.
    """
    example, positions = unravel(outputs, geometry.out_shape)
    _, offsets = unravel(tap, geometry.window)
    seen, found = outputs < count, []
    for axis, position in enumerate(positions):
        first = offsets[axis] * geometry.dilation[axis] - geometry.padding[axis][0]
        at = position * geometry.strides[axis] + first
        seen &= (at >= 0) & (at < geometry.in_shape[axis])
        found.append(at)
    return _ravel(example, found, geometry.in_shape), seen


def outputs_reached(geometry: Geometry, inputs: jax.Array, count: int, tap: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rows of the output that see input rows through a tap: as `inputs_seen`, the other way."""
    example, positions = unravel(inputs, geometry.in_shape)
    _, offsets = unravel(tap, geometry.window)
    reached, found = inputs < count, []
    for axis, position in enumerate(positions):
        first = offsets[axis] * geometry.dilation[axis] - geometry.padding[axis][0]
        group, phase = divide(position - first, geometry.strides[axis])
        reached &= (position >= first) & (phase == 0) & (group < geometry.out_shape[axis])
        found.append(group)
    return _ravel(example, found, geometry.out_shape), reached


def unravel(numbers: jax.Array, shape: Sequence[int]) -> tuple[jax.Array, list[jax.Array]]:
    """Numbers in row-major order as an index before these axes, and one along each."""
    found: list[jax.Array] = []
    for size in reversed(shape):
        numbers, index = divide(numbers, size)
        found.insert(0, index)
    return numbers, found


def divide(numbers: jax.Array, by: int) -> tuple[jax.Array, jax.Array]:
    """Quotients and remainders of numbers that are not negative."""
    divisor = lax.full_like(numbers, by)
    return lax.div(numbers, divisor), lax.rem(numbers, divisor)


def numbers_of(tile: jax.Array, width: int) -> jax.Array:
    """The numbers of the rows or columns of a tile, `(width,)` int32."""
    return tile * width + lax.iota(jnp.int32, width)


def examples_of(rows: int, shape: Sequence[int]) -> int:
    """How many examples these rows are."""
    return rows // math.prod(shape)


def _ravel(example: jax.Array, positions: Sequence[jax.Array], shape: Sequence[int]) -> jax.Array:
    for position, size in zip(positions, shape, strict=True):
        example = example * size + position
    return example
