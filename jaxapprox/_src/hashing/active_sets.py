"""The units that an input activates: maximum-inner-product search by hash tables.

There are two ways to the same kind of answer, by the size of the layer (`Tables.has_buckets`). Small layers compare the
codes of all units, all examples at once. Large ones collect ids from the buckets that the input falls into, in memory
that is bounded whatever the batch.
"""

import sys
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxapprox._src.checks import check_choice, check_key
from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.hashing.batches import in_groups, largest
from jaxapprox._src.hashing.codes import check_inputs, query_codes
from jaxapprox._src.hashing.tables import Tables, as_tables
from jaxapprox._src.varying import same_varying

_ENTRIES = 1 << 20  # of the groups of examples that are looked up side by side: a bound to the memory of a query


def active_set(
    key: jax.Array,
    tables: Tables,
    x: jax.Array,
    *,
    size: int,
    select: str = "union",
    features: jax.Array | None = None,
) -> jax.Array:
    """The ids of the `size` units that the hash codes of each input find.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.lsh import active_set, build
    >>> weights = 2 * jnp.eye(64)
    >>> tables = build(jax.random.key(0), weights, transform="simple")
    >>> ids = active_set(jax.random.key(1), tables, weights[:3], size=4, select="count")
    >>> ids.shape
    (3, 4)
    >>> ids[:, 0].tolist()  # an input that is a unit's weights finds that unit in every table
    [0, 1, 2]

    Args:
        key: a PRNG key: for the subsampling, the ties and the random fill. The same key gives the same sets.
        tables: from `build`; with NumPy arrays, or as a dict by field, they serve as well.
        x: `(batch, features)`. Whatever its values, the ids are valid: see `query_codes` for rows of zeros and NaN.
        size: units an example activates, a Python int in [1, units].
        select: "union" is the paper's rule: tables in order, each bucket subsampled to `size`, until `size` units are
            found; what is missing is filled with random units. "count" takes the units with the most collisions first,
            ties broken at random.
        features: for inputs of which few features are not 0, as in `query_codes`.

    Returns:
        `(batch, size)` int32, distinct ids in each row, the first found first. In a layer with buckets (see
        `Tables.has_buckets`) at most `size` consecutive units of a bucket are looked at, from a random one on, "union"
        looks at 4 times `size` units in all, and the fill is stratified over the ids.

    Raises:
        ValueError: if an argument is not as above.
    """
    tables = as_tables(tables)
    units = tables.codes.shape[-1]
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 1 <= size <= units:
        raise ValueError(f"size must be a Python int between 1 and the number of units ({units}), got {size!r}")
    check_choice("select", select, SELECTS)
    check_key(key)
    check_inputs(x, (tables.projections if features is None else features).shape[0])

    def find(key, tables, x, features):
        codes = query_codes(tables, x, features)
        if tables.has_buckets:
            return _collect(key, tables, codes, size, *_FROM_BUCKETS[select])
        return _compare(key, tables, codes, size, _BY_COMPARISON[select])

    return split_as(split_of(x, 1), find, key, tables, x, features)


def shared_active_set(
    key: jax.Array,
    tables: Tables,
    x: jax.Array,
    *,
    size: int,
    select: str = "union",
    features: jax.Array | None = None,
) -> jax.Array:
    """One set for the whole batch: the `size` units that are in the sets of the most examples, ties at random.

    Args:
        key, tables, x, size, select, features: as for `active_set`.

    Returns:
        `(size,)` int32, distinct ids.

    Raises:
        ValueError: as for `active_set`.
    """
    tables = as_tables(tables)
    check_key(key)

    def find(key, tables, x, features):
        own_key, tie_key = jax.random.split(key)
        chosen = active_set(own_key, tables, x, size=size, select=select, features=features)
        if x.shape[0] == 1:
            return chosen[0]
        units = tables.codes.shape[-1]
        order = jax.random.permutation(tie_key, jnp.arange(units, dtype=jnp.int32))
        return order[lax.top_k(count(chosen, units)[order], size)[1]]

    return split_as(PartitionSpec(), find, key, tables, x, features)


def count(ids: jax.Array, units: int) -> jax.Array:
    """In how many of the sets `(batch, size)` each unit is: `(units,)` int32."""

    def of_group(ids):
        return jnp.zeros(units, jnp.int32).at[ids.reshape(-1)].add(1)

    return jnp.sum(in_groups(of_group, _ENTRIES // units, ids), 0, dtype=jnp.int32)


def _compare(
    key: jax.Array, tables: Tables, codes: jax.Array, size: int, rank: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """The `size` units of the lowest ranks, equal ranks in random order.

    The random order of equal ranks is what subsamples a bucket and draws the fill.
    """
    ranks = rank(tables.codes[None] == codes[:, :, None])
    return largest(-_ties_broken(key, ranks), size)


def _ties_broken(key: jax.Array, ranks: jax.Array) -> jax.Array:
    """Ranks plus a random fraction, as float32, of which XLA finds the largest fastest on a CPU."""
    return ranks.astype(jnp.float32) + jax.random.uniform(key, ranks.shape, jnp.float32)


def _first_table(matches: jax.Array) -> jax.Array:
    """The first table that finds each unit; the number of tables where none does. matches: `(batch, tables, units)`.

    A bucket of `size` or more completes the set, so taking its units in random order is subsampling it.
    """
    num_tables = matches.shape[1]
    tables = jnp.arange(num_tables, dtype=jnp.int32)[None, :, None]
    return jnp.min(jnp.where(matches, tables, num_tables), 1)


def _tables_missed(matches: jax.Array) -> jax.Array:
    """The number of tables that do not find each unit: `(batch, units)`."""
    return jnp.sum(~matches, 1, dtype=jnp.int32)


_BY_COMPARISON: dict[str, Callable[[jax.Array], jax.Array]] = {"union": _first_table, "count": _tables_missed}


class _Choose(Protocol):
    """Chooses `size` of the ids that were found for an example.

    Args:
        key: a PRNG key.
        ids: `(n,)`, the ids at `looked_at` places in buckets, followed by the random fill. An id past the last unit is
            a place without a unit.
        first: `(n,)`, the first place in `ids` at which each of them stands.
    """

    def __call__(self, key: jax.Array, ids: jax.Array, first: jax.Array, looked_at: int, size: int, /) -> jax.Array: ...


def _collect(key: jax.Array, tables: Tables, codes: jax.Array, size: int, places: int, choose: _Choose) -> jax.Array:
    """The sets of examples with these codes, by a look at `places` times `size` places in buckets for each.

    One array with an entry for each unit serves the examples of a group, one after another. Groups are computed side by
    side, on several devices where the batch is split over them.
    """
    num_tables, units = tables.codes.shape
    batch = codes.shape[0]
    looked_at = min(num_tables, places) * size
    n = looked_at + size  # the fill follows

    def one(first_place, example):
        key, own = example
        bucket_key, fill_key, choice_key = jax.random.split(key, 3)
        members = _bucket_members(bucket_key, tables, own, size, looked_at)
        ids = jnp.concatenate([members, _stratified(fill_key, units, size)])
        first_place = first_place.at[ids].min(jnp.arange(n, dtype=jnp.int32), mode="drop")
        first = first_place.at[ids].get(mode="fill", fill_value=n)
        return first_place.at[ids].set(n, mode="drop"), choose(choice_key, ids, first, looked_at, size)

    def group(*examples):
        first_place, examples, _ = same_varying(jnp.full(units, n, jnp.int32), examples, tables)
        return lax.scan(one, first_place, examples)[1]

    ids = in_groups(group, _ENTRIES // max(units, n), jax.random.split(key, batch), codes)
    return ids.reshape(batch, size)


def _first_found(key: jax.Array, ids: jax.Array, first: jax.Array, looked_at: int, size: int) -> jax.Array:
    """The first `size` distinct ids."""
    is_first = first == jnp.arange(ids.shape[0])
    return jnp.zeros(size, jnp.int32).at[jnp.where(is_first, jnp.cumsum(is_first) - 1, size)].set(ids, mode="drop")


def _most_often_found(key: jax.Array, ids: jax.Array, first: jax.Array, looked_at: int, size: int) -> jax.Array:
    """The `size` distinct ids that stand at the most places, ties at random."""
    n = ids.shape[0]
    times_found = jnp.zeros(n, jnp.int32).at[first[:looked_at]].add(1, mode="drop")
    rank = _ties_broken(key, -times_found)
    return ids[largest(jnp.where(first == jnp.arange(n), -rank, -jnp.inf), size)]


def _bucket_members(key: jax.Array, tables: Tables, codes: jax.Array, size: int, count: int) -> jax.Array:
    """`(count,)` ids: up to `size` from the bucket of each table, table after table; then the number of units."""
    assert tables.order is not None and tables.offsets is not None
    num_tables, units = tables.codes.shape
    table = jnp.arange(num_tables)
    start, stop = tables.offsets[table, codes], tables.offsets[table, codes + 1]
    length = stop - start
    taken = jnp.minimum(length, size)
    ends = jnp.cumsum(taken)
    shift = jax.random.randint(key, (num_tables,), 0, jnp.maximum(length, 1), jnp.int32)
    of = jnp.cumsum(jnp.zeros(count, jnp.int32).at[ends[:-1]].add(1, mode="drop"))  # the table of each place
    step = jnp.arange(count, dtype=jnp.int32) - (ends - taken)[of]
    positions = start[of] + (shift[of] + step) % jnp.maximum(length, 1)[of]
    members = tables.order[of, positions.clip(max=units - 1)]
    return jnp.where(step < taken[of], members, units)


def _stratified(key: jax.Array, units: int, size: int) -> jax.Array:
    """`size` distinct ids, one from each of as many equal ranges."""
    bounds = (np.arange(size + 1, dtype=np.int64) * units // size).astype(np.int32)
    return jax.random.randint(key, (size,), bounds[:-1], bounds[1:], jnp.int32)


# How many times `size` places in buckets are looked at (at most all of them), and how to choose among what is there.
_FROM_BUCKETS: dict[str, tuple[int, _Choose]] = {
    "union": (4, _first_found),
    "count": (sys.maxsize, _most_often_found),
}
SELECTS = tuple(_FROM_BUCKETS)
