"""Blocks of arrays: read, differentiated in and written, without touching what lies outside of them.

A layer between two sets of active units needs the (active out x active in) block of its weights alone. Autodiff in the
weights gives a gradient as large as they are; here autodiff is in the block, once read, and its gradient stays one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Where(NamedTuple):
    """A block of a matrix, or of a vector by its rows.

    Attributes:
        rows: `(r,)` int32, distinct, or None for all. Ids past the last one are unused slots: what is read there is
            arbitrary (some row's values), and what is written there is dropped.
        columns: `(c,)` int32, likewise; None for all, and for a vector.
    """

    rows: jax.Array | None = None
    columns: jax.Array | None = None


EVERYTHING = Where()


class Block(NamedTuple):
    """Values for a block of an array: a gradient, or an update."""

    where: Where
    values: jax.Array


def take(array: jax.Array, where: Where) -> jax.Array:
    """The values of a block: `(r, c)`; a gather of single elements only where both rows and columns are given."""
    index, array = _index(where), jnp.asarray(array)
    if index is None:
        return array
    # Read once and in whole rows: XLA would fuse the gather into each use, which then reads element by element, and
    # might find that a use comes after the block is written, so that the array must be copied.
    return lax.optimization_barrier(array.at[index].get(mode="clip"))


def add(array: jax.Array, block: Block) -> jax.Array:
    """The array with values added to a block: in place where it may be, as in a loop's carry or donated."""
    index, array = _index(block.where), jnp.asarray(array)
    if index is None:
        return array + block.values
    return array.at[index].add(block.values, mode="drop", unique_indices=True)


def put(array: jax.Array, block: Block) -> jax.Array:
    """The array with other values in a block: in place where it may be, as in `add`."""
    index = _index(block.where)
    if index is None:
        return block.values
    return jnp.asarray(array).at[index].set(block.values, mode="drop", unique_indices=True)


def vjp(
    function: Callable[..., jax.Array], arrays: Any, where: Any, *arguments: jax.Array
) -> tuple[jax.Array, Callable[[jax.Array], tuple[Any, ...]]]:
    """`jax.vjp` of `function(blocks, *arguments)` in the blocks of arrays instead of the arrays.

    Args:
        function: takes a tree as `arrays`, of their blocks, and the arguments.
        arrays: a tree of arrays.
        where: a tree of the same structure with a `Where` for each array.
        *arguments: floating arrays.

    Returns:
        Its value, and a function of the value's cotangent that gives a tree of `Block` for the arrays, and the
        cotangents of the arguments.
    """
    value, pull = jax.vjp(function, jax.tree.map(take, arrays, where), *arguments)

    def pull_back(cotangent: jax.Array) -> tuple[Any, ...]:
        of_blocks, *of_arguments = pull(cotangent)
        return jax.tree.map(lambda _, where, values: Block(where, values), arrays, where, of_blocks), *of_arguments

    return value, pull_back


def is_block(tree: Any) -> bool:
    """Whether `tree` is a `Block`: the `is_leaf` of a `jax.tree.map` over blocks."""
    return isinstance(tree, Block)


def _index(where: Where) -> Any:
    """The block as an index into its array, or None if it is all of the array."""
    if where.columns is None:
        return where.rows
    if where.rows is None:
        return slice(None), where.columns
    return lax.expand_dims(where.rows, (1,)), lax.expand_dims(where.columns, (0,))
