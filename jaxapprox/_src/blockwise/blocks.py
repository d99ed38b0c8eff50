"""Blocks of arrays: read, differentiated in and written, without touching what lies outside of them.

A layer between two sets of active units needs the (active out x active in) block of its weights alone. Autodiff in the
weights gives a gradient as large as they are; here autodiff is in the block, once read, and its gradient stays one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxapprox._src.checks import check_int
from jaxapprox._src.explicit_axes import split_as
from jaxapprox._src.varying import same_varying

# On a CPU, to sort 1,000 ids takes as long as to fill a table of a million.
_UNITS_IN_TABLE = 1024


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
"""The block that is the whole array."""


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


def add_up(ids: jax.Array, values: Any, units: int) -> Any:
    """A block of distinct rows from values for rows that may be named more than once: the values of each are added up.

    >>> import jax.numpy as jnp
    >>> from jaxapprox import blocks
    >>> block = blocks.add_up(jnp.array([4, 0, 4, -1]), jnp.array([1.0, 10.0, 100.0, 1000.0]), 5)
    >>> print(blocks.add(jnp.zeros(5), block))
    [ 10.   0.   0.   0. 101.]
    >>> print(block.where.rows)  # the slots of the second 4 and of -1 are unused: past the last row
    [4 0 7 8]

    Args:
        ids: `(n,)` int32. One outside [0, units) names no row, and its values are dropped.
        values: `(n, ...)`, or a tree of such arrays, for which the rows are found once.
        units: rows of the array that the block is of. Temporaries have up to 1,024 n numbers beside the values' size.

    Returns:
        A `Block` with n slots, its rows int32, or a tree of such blocks. Each row is in the first slot that names it;
        the other slots are unused, each with an id of its own past the last row, and values of 0.

    Raises:
        ValueError: if a shape does not fit.
    """
    if ids.ndim != 1 or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"ids must have shape (n,) and an integer dtype, got {ids.shape}, {ids.dtype}")
    check_int("units", units, None)
    n = ids.shape[0]
    for array in jax.tree.leaves(values):
        if array.shape[:1] != (n,):
            raise ValueError(f"values must have shape ({n}, ...), as many as ids, got {array.shape}")

    def added(ids, values):
        slots, ids, values = same_varying(jnp.arange(n, dtype=jnp.int32), ids.astype(jnp.int32), values)
        names_a_row = (ids >= 0) & (ids < units)
        ids = jnp.where(names_a_row, ids, units)
        first = first_of_each(ids, units)
        where = Where(jnp.where(names_a_row & (first == slots), ids, units + slots))
        first = jnp.where(names_a_row, first, n)
        return jax.tree.map(lambda a: Block(where, jnp.zeros_like(a).at[first].add(a, mode="drop")), values)

    return split_as(PartitionSpec(), added, ids, values)


def first_of_each(ids: jax.Array, units: int) -> jax.Array:
    """For each of ids `(n,)`, in [0, units], the first place with the same id; that of `units` is arbitrary."""
    n = ids.shape[0]
    slots, ids = same_varying(jnp.arange(n, dtype=jnp.int32), ids)
    if units <= _UNITS_IN_TABLE * n:
        table = jnp.full_like(slots, n, shape=(units,)).at[ids].min(slots, mode="drop")
        return table.at[ids].get(mode="clip")
    order = jnp.argsort(ids, stable=True)
    ordered = ids[order]
    is_first = jnp.concatenate([slots[:1] == 0, ordered[1:] != ordered[:-1]])
    start = lax.cummax(jnp.where(is_first, slots, 0))
    return slots.at[order].set(order[start].astype(slots.dtype), unique_indices=True)


def _index(where: Where) -> Any:
    """The block as an index into its array, or None if it is all of the array."""
    if where.columns is None:
        return where.rows
    if where.rows is None:
        return slice(None), where.columns
    return lax.expand_dims(where.rows, (1,)), lax.expand_dims(where.columns, (0,))
