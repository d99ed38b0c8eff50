"""Which units an input activates: maximum-inner-product search by the hash tables of `jaxapprox.hashing`.

Two ways to the same kind of answer, by the size of the layer (`Tables.has_buckets`): small layers compare the codes of
all units; large ones collect at most `size` ids from each bucket that the input falls into.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxapprox.column_row import check_key
from jaxapprox.hashing import MOST_BITS, Tables, build, collision_probability, collisions, query_codes, rebuild

__all__ = [
    "MOST_BITS",
    "Tables",
    "active_set",
    "build",
    "collision_probability",
    "collisions",
    "query_codes",
    "rebuild",
    "shared_active_set",
]


def active_set(key: jax.Array, tables: Tables, x: jax.Array, *, size: int, select: str = "union") -> jax.Array:
    """For each input the ids of `size` units that its hash codes find.

    Args:
        key: a PRNG key: for the subsampling, the ties and the random fill. The same key gives the same sets.
        tables: from `build`.
        x: `(batch, features)`.
        size: units an example activates, a Python int in [1, units].
        select: "union" is the paper's rule: tables in order, each bucket subsampled to `size`, until `size` units are
            found; what is missing is filled with random units. "count" takes the units with the most collisions first,
            ties broken at random.

    Returns:
        `(batch, size)` int32, distinct ids in each row, the first found first. In a layer with buckets at most `size`
        consecutive units (from a random one on) of a bucket count, and the fill is stratified over the ids.

    Raises:
        ValueError: if an argument is not as above.
    """
    units = tables.codes.shape[-1]
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 1 <= size <= units:
        raise ValueError(f"size must be a Python int between 1 and the number of units ({units}), got {size!r}")
    if select not in tuple(_BY_COMPARISON):
        raise ValueError(f"select must be one of {', '.join(_BY_COMPARISON)}, got {select!r}")
    check_key(key)
    codes = query_codes(tables, x)
    one = (_FROM_BUCKETS if tables.has_buckets else _BY_COMPARISON)[select]
    keys = jax.random.split(key, x.shape[0])
    return jax.vmap(lambda key, codes: one(key, tables, codes, size))(keys, codes)


def shared_active_set(key: jax.Array, tables: Tables, x: jax.Array, *, size: int, select: str = "union") -> jax.Array:
    """One set for the whole batch: the `size` units that are in the sets of the most examples, ties at random.

    Args, Raises: as `active_set`. Returns: `(size,)` int32, distinct ids.
    """
    own_key, tie_key = jax.random.split(key)
    chosen = active_set(own_key, tables, x, size=size, select=select)
    units = tables.codes.shape[-1]
    votes = jnp.zeros(units, jnp.int32).at[chosen.reshape(-1)].add(1)
    order = jax.random.permutation(tie_key, units)
    return order[lax.top_k(votes[order], size)[1]]


_Selection = Callable[[jax.Array, Tables, jax.Array, int], jax.Array]


def _by_comparison(rank: Callable[[jax.Array], jax.Array]) -> _Selection:
    def select(key: jax.Array, tables: Tables, codes: jax.Array, size: int) -> jax.Array:
        units = tables.codes.shape[-1]
        order = jax.random.permutation(key, units)  # one random order does for subsamples, ties and fill
        matches = tables.codes[:, order] == codes[:, None]
        first = rank(matches) * units + jnp.arange(units)
        return order[lax.top_k(-first, size)[1]].astype(jnp.int32)

    return select


def _first_table(matches: jax.Array) -> jax.Array:
    """The first table that finds each unit; the number of tables where none does.

    A bucket of `size` or more completes the set, so taking its units in random order is subsampling it.
    """
    return jnp.where(jnp.any(matches, 0), jnp.argmax(matches, 0), matches.shape[0])


def _tables_missed(matches: jax.Array) -> jax.Array:
    return jnp.sum(~matches, 0)


def _from_buckets(rank: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]) -> _Selection:
    def select(key: jax.Array, tables: Tables, codes: jax.Array, size: int) -> jax.Array:
        bucket_key, fill_key, tie_key = jax.random.split(key, 3)
        found = _bucket_members(bucket_key, tables, codes, size).reshape(-1)
        units = tables.codes.shape[-1]
        ids = jnp.concatenate([found, _stratified(fill_key, units, size)])
        place = jnp.arange(ids.shape[0], dtype=jnp.int32)
        ids, place = lax.sort((ids, place), num_keys=2)  # equal ids side by side, the first found first
        is_unit = ids < units
        is_first = jnp.concatenate([jnp.ones(1, bool), ids[1:] != ids[:-1]]) & is_unit
        ranks = rank(tie_key, is_first, place, is_unit & (place < found.shape[0]))
        best = lax.top_k(-jnp.where(is_first, ranks, jnp.iinfo(jnp.int32).max), size)[1]
        return ids[best]

    return select


def _bucket_members(key: jax.Array, tables: Tables, codes: jax.Array, size: int) -> jax.Array:
    """`(tables, size)` ids from the buckets of `codes`; past the end of a bucket, the number of units."""
    num_tables, units = tables.codes.shape
    table = jnp.arange(num_tables)
    start, stop = tables.offsets[table, codes], tables.offsets[table, codes + 1]
    length = jnp.maximum(stop - start, 1)
    shift = jax.random.randint(key, (num_tables,), 0, length)
    steps = jnp.arange(size, dtype=jnp.int32)[None, :]
    positions = start[:, None] + (shift[:, None] + steps) % length[:, None]
    members = tables.order[table[:, None], positions.clip(max=units - 1)]
    return jnp.where(steps < (stop - start)[:, None], members, units)


def _stratified(key: jax.Array, units: int, size: int) -> jax.Array:
    """`size` distinct ids, one from each of as many equal ranges."""
    bounds = np.arange(size + 1, dtype=np.int64) * units // size
    return jax.random.randint(key, (size,), bounds[:-1].astype(np.int32), bounds[1:].astype(np.int32))


def _in_order_found(key: jax.Array, is_first: jax.Array, place: jax.Array, found: jax.Array) -> jax.Array:
    return place


def _most_often_found(key: jax.Array, is_first: jax.Array, place: jax.Array, found: jax.Array) -> jax.Array:
    n = place.shape[0]
    run = jnp.cumsum(is_first) - 1
    count = jax.ops.segment_sum(found.astype(jnp.int32), run, num_segments=n)[run]
    return jax.random.permutation(key, n) - count * n


_BY_COMPARISON: dict[str, _Selection] = {
    "union": _by_comparison(_first_table),
    "count": _by_comparison(_tables_missed),
}
_FROM_BUCKETS: dict[str, _Selection] = {
    "union": _from_buckets(_in_order_found),
    "count": _from_buckets(_most_often_found),
}
