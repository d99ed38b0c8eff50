"""How well a hashed layer's tables serve it, by a look at a few examples and units: cheap enough to leave on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxapprox._src.explicit_axes import split_as
from jaxapprox._src.hashing.active_sets import count
from jaxapprox._src.hashing.batches import largest
from jaxapprox._src.hashing.codes import query_codes, unit_codes
from jaxapprox._src.hashing.tables import Tables, as_tables

_EXAMPLES = 8
_UNITS = 128


class Diagnostics(NamedTuple):
    """What hash tables did for one batch. Each attribute is a () float32 array.

    Attributes:
        active_units: how many units are in the active set of at least one example.
        recall: share of the `size` units with the largest inner products that the active set of `size` holds.
        empty_buckets: share of (example, table) whose bucket holds no unit.
        random_fill: share of the active set that no table finds: it shares no bucket with its example.
        drift: share of (unit, table) whose code is another than when the tables were built.
    """

    active_units: jax.Array
    recall: jax.Array
    empty_buckets: jax.Array
    random_fill: jax.Array
    drift: jax.Array


def diagnose(tables: Tables, weights: jax.Array, x: jax.Array, ids: jax.Array) -> Diagnostics:
    """Diagnostics of the active sets `ids` that `tables` found for `x`.

    Recall, fill and buckets are those of the first 8 examples, drift that of at most 128 units, evenly spaced. That
    costs the exact product of 8 examples, the hashing of 128 units and the norms of all: much less than a batch's
    product, but more than the active units of a single example.

    Args:
        tables: from `build`, maybe some steps ago.
        weights: `(units, features)`, as they are now.
        x: `(batch, features)`.
        ids: `(batch, size)` int32, or `(size,)` for one set shared by the batch.

    Returns:
        `Diagnostics`; no gradient flows through them.
    """
    return split_as(PartitionSpec(), _diagnose, as_tables(tables), weights, x, ids)


def _diagnose(tables: Tables, weights: jax.Array, x: jax.Array, ids: jax.Array) -> Diagnostics:
    weights, x = lax.stop_gradient((weights, x[:_EXAMPLES]))
    units, size = weights.shape[0], ids.shape[-1]
    active = count(jnp.atleast_2d(ids), units) > 0
    ids = jnp.broadcast_to(ids[:_EXAMPLES] if ids.ndim == 2 else ids[None], (x.shape[0], size))
    codes = query_codes(tables, x)
    truth = largest(x @ weights.T, size)
    is_active = jax.vmap(lambda own, true: jnp.zeros(units, bool).at[own].set(True)[true])(ids, truth)
    found = jnp.any(tables.codes.T[ids] == codes[:, None, :], -1)
    every = -(-units // _UNITS)
    return Diagnostics(
        active_units=jnp.sum(active, dtype=jnp.float32),
        recall=jnp.mean(is_active, dtype=jnp.float32),
        empty_buckets=jnp.mean(~_occupied(tables, codes), dtype=jnp.float32),
        random_fill=jnp.mean(~found, dtype=jnp.float32),
        drift=jnp.mean(unit_codes(tables, weights, every=every) != tables.codes[:, ::every], dtype=jnp.float32),
    )


def _occupied(tables: Tables, codes: jax.Array) -> jax.Array:
    """Whether the bucket of each of the codes `(batch, tables)` holds a unit: `(batch, tables)` bool."""
    if tables.offsets is None:
        return jnp.any(tables.codes[None] == codes[:, :, None], -1)
    table = jnp.arange(codes.shape[1])[None, :]
    return tables.offsets[table, codes + 1] > tables.offsets[table, codes]
