"""A few members of the bucket that an input falls into, in each table: the cheapest query there is."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.hashing.tables import Tables


def bucket_members(key: jax.Array, tables: Tables, codes: jax.Array, count: int) -> jax.Array:
    """Up to `count` units of each bucket, from a random one on.

    Args:
        key: a PRNG key.
        tables: from `jaxapprox.lsh.build`.
        codes: `(batch, tables)` int32, from `query_codes`.
        count: units of a bucket, at most as many as there are units.

    Returns:
        `(batch, tables, count)` int32, distinct in each bucket; the number of units for a place that is left over.
    """
    num_tables, units = tables.codes.shape
    if tables.order is None or tables.offsets is None:
        shares_bucket = codes[:, :, None] == tables.codes[None]
        rank = jnp.where(shares_bucket, jax.random.uniform(key, shares_bucket.shape), -1)
        found, ids = lax.top_k(rank, count)
        return jnp.where(found >= 0, ids, units)
    table = jnp.arange(num_tables)[None, :]
    start, stop = tables.offsets[table, codes], tables.offsets[table, codes + 1]
    length = (stop - start)[:, :, None]
    shift = jax.random.randint(key, length.shape, 0, jnp.maximum(length, 1), jnp.int32)
    step = jnp.arange(count, dtype=jnp.int32)[None, None, :]
    places = start[:, :, None] + (shift + step) % jnp.maximum(length, 1)
    members = tables.order[table[:, :, None], places.clip(max=units - 1)]
    return jnp.where(step < length, members, units)
