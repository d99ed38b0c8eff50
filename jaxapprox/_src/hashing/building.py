"""Hash tables of a layer's weights: how they are made, and made again as the weights move."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxapprox._src.checks import check_choice, check_int, check_key, check_weights
from jaxapprox._src.explicit_axes import split_as
from jaxapprox._src.hashing.codes import unit_codes
from jaxapprox._src.hashing.tables import TRANSFORMS, Tables, as_tables
from jaxapprox._src.ordered import searchsorted
from jaxapprox._src.varying import same_varying

PROJECTIONS = ("rademacher", "gaussian")
# On a CPU comparing every unit's code takes 0.9 to 1.3 times as long as collecting buckets at 2,048 units and 2.4 to 8
# times as long at 32,768 (one example, a twentieth active; five runs of `python -m experiments.bench hashing`).
_BUCKETS_FROM_UNITS = 2048
MOST_BITS = 30
"""The most bits that a code may have."""

_MOST_BUCKET_BITS = 24


def build(
    key: jax.Array,
    weights: jax.Array,
    *,
    bias: jax.Array | None = None,
    num_tables: int = 5,
    num_bits: int = 6,
    transform: str = "l2",
    num_powers: int = 3,
    max_norm: float = 0.83,
    projection: str = "rademacher",
) -> Tables:
    """Draws hash functions and hashes the units by them. The defaults are the paper's setting.

    >>> import jax
    >>> from jaxapprox.lsh import build, collisions
    >>> weights = jax.random.normal(jax.random.key(0), (100, 20))
    >>> collisions(build(jax.random.key(1), weights), weights[:3]).shape  # of 3 inputs with 100 units
    (3, 100)

    Args:
        key: a PRNG key.
        weights: `(units, features)`, any floating dtype. Units of zeros have a code as any other; where a value is NaN
            or infinite, all codes are valid and mean nothing.
        bias: `(units,)`, hashed along as one more feature of the units; inputs then need a feature of 1. By default a
            unit's bias has no part in it.
        num_tables: L.
        num_bits: K, bits of a code, at most 30 (`MOST_BITS`).
        transform: "l2", "sign" or "simple".
        num_powers: m, powers of the norm that "l2" and "sign" append.
        max_norm: U in (0, 1), the norm that the longest weight vector is scaled to ("simple": to 1 whatever U).
        projection: "rademacher" (entries +1 and -1) or "gaussian".

    Returns:
        `Tables`, with buckets where there are 2,048 units or more and at most 2^24 buckets a table.

    Raises:
        ValueError: if an argument is not as above. Values are never looked at.
    """
    check_key(key)
    check_int("num_tables", num_tables, None)
    check_int("num_bits", num_bits, MOST_BITS)
    check_int("num_powers", num_powers, None)
    check_choice("transform", transform, TRANSFORMS)
    check_choice("projection", projection, PROJECTIONS)
    if not isinstance(max_norm, int | float | np.number) or not 0 < max_norm < 1:
        raise ValueError(f"max_norm must be a number in (0, 1), got {max_norm!r}")
    check_weights(weights, None)
    _check_bias(bias, weights)
    units, features = weights.shape[0], weights.shape[1] + (bias is not None)
    dtype = jnp.promote_types(weights.dtype, jnp.float32)
    appended = 1 if transform == "simple" else num_powers
    draw = jax.random.rademacher if projection == "rademacher" else jax.random.normal
    vectors = draw(key, (features + appended, num_tables * num_bits)).astype(dtype)
    buckets = units >= _BUCKETS_FROM_UNITS and num_bits <= _MOST_BUCKET_BITS
    tables = Tables(
        projections=vectors[:features],
        tail=vectors[features:],
        codes=jnp.zeros((num_tables, units), jnp.int32),
        order=jnp.zeros((num_tables, units), jnp.int32) if buckets else None,
        offsets=jnp.zeros((num_tables, 2**num_bits + 1), jnp.int32) if buckets else None,
        transform=jnp.int32(TRANSFORMS.index(transform)),
        max_norm=jnp.asarray(1.0 if transform == "simple" else max_norm, dtype),
    )
    return rebuild(tables, weights, bias)


def rebuild(tables: Tables, weights: jax.Array, bias: jax.Array | None = None) -> Tables:
    """Hashes the units again, by the same hash functions.

    Args:
        tables: from `build`; with NumPy arrays, or as a dict by field, they serve as well.
        weights, bias: as `build` was given, with other values.

    Returns:
        `Tables` in which only `codes`, `order` and `offsets` are new.

    Raises:
        ValueError: if a shape is another than `build` was given.
    """
    _check_bias(bias, weights)
    return split_as(PartitionSpec(), _rebuild, as_tables(tables), weights, bias)


def _check_bias(bias: jax.Array | None, weights: jax.Array) -> None:
    if bias is not None and jnp.shape(bias) != weights.shape[:1]:
        raise ValueError(f"bias must have shape {weights.shape[:1]}, as weights have units, got {jnp.shape(bias)}")


def _rebuild(tables: Tables, weights: jax.Array, bias: jax.Array | None) -> Tables:
    codes = unit_codes(tables, weights, bias)
    if tables.offsets is None:
        return tables._replace(codes=codes)
    bounds = jnp.arange(tables.offsets.shape[-1], dtype=jnp.int32)

    def sort(codes):
        codes, ids = same_varying(codes, jnp.arange(codes.shape[0], dtype=jnp.int32))
        in_order, order = lax.sort_key_val(codes, ids)
        return order, searchsorted(in_order, bounds).astype(jnp.int32)

    order, offsets = lax.map(sort, codes)  # a table after another: the memory of a sort is that of one
    return tables._replace(codes=codes, order=order, offsets=offsets)
