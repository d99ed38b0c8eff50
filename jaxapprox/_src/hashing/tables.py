r"""Asymmetric locality-sensitive hashing for maximum inner product: it finds the units that answer an input most.

Weights w and inputs x go through two different transforms, P and Q, such that P(w) and Q(x) point the same way where
w . x is large; then K signs of random projections make a code, once for each of L tables. A unit is found in a table
where its code is the input's. With w~ = w U / max |w| (a copy: parameters are never rescaled) and x^ = x / |x|:

    transform   P(w~)                                               Q(x^)
    "l2"        [w~; |w~|^2; |w~|^4; ...; |w~|^(2^m)]               [x^; 1/2; ...; 1/2]
    "sign"      [w~; 1/2 - |w~|^2; ...; 1/2 - |w~|^(2^m)]           [x^; 0; ...; 0]
    "simple"    [w~; sqrt(1 - |w~|^2)], with U = 1                  [x^; 0]

For a Gaussian projection a bit agrees with probability 1 - theta / pi, theta the angle between P and Q.

References:
    Shrivastava, Li, Asymmetric LSH (ALSH) for Sublinear Time Maximum Inner Product Search, NeurIPS 2014 ("l2").
    Shrivastava, Li, Improved Asymmetric Locality Sensitive Hashing (ALSH) for MIPS, UAI 2015 ("sign").
    Neyshabur, Srebro, On Symmetric and Asymmetric LSHs for Inner Product Search, ICML 2015 ("simple").
    Goemans, Williamson, Improved Approximation Algorithms for Maximum Cut, J. ACM 1995 (the angle of a sign).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxapprox._src.checks import check_choice, check_finite, check_int, check_key, check_weights

TRANSFORMS = ("l2", "sign", "simple")
PROJECTIONS = ("rademacher", "gaussian")
# On a CPU comparing every unit's code takes 0.9 to 1.3 times as long as collecting buckets at 2,048 units and 2.4 to 8
# times as long at 32,768 (one example, a twentieth active; five runs of `python -m experiments.bench hashing`).
_BUCKETS_FROM_UNITS = 2048
MOST_BITS = 30
_MOST_BUCKET_BITS = 24
_UNITS_AT_ONCE = 1 << 14  # to project: what bounds the memory that hashing a large layer takes


class Tables(NamedTuple):
    """Hash functions and the units' codes. All are arrays, so that tables scan, vmap and checkpoint.

    Attributes:
        projections: `(features, tables * bits)`; a row for each feature, so that few features read few rows.
        tail: `(extra, tables * bits)`: the projections of what the transform appends.
        codes: `(tables, units)` int32.
        order: `(tables, units)` int32, unit ids by code; `(tables, 0)` for a layer without buckets.
        offsets: `(tables, 2^bits + 1)` int32, where each bucket of `order` begins; `(tables, 0)` without buckets.
        transform: () int32, an index into `TRANSFORMS`.
        max_norm: () float, U.
    """

    projections: jax.Array
    tail: jax.Array
    codes: jax.Array
    order: jax.Array
    offsets: jax.Array
    transform: jax.Array
    max_norm: jax.Array

    @property
    def has_buckets(self) -> bool:
        """Whether `active_set` collects buckets, instead of comparing every unit's code."""
        return self.order.shape[-1] > 0


def build(
    key: jax.Array,
    weights: jax.Array,
    *,
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
        weights: `(units, features)`, any floating dtype, finite, no row of zeros; a unit's bias has no part in it.
        num_tables: L.
        num_bits: K, bits of a code, at most 30 (`MOST_BITS`).
        transform: "l2", "sign" or "simple".
        num_powers: m, powers of the norm that "l2" and "sign" append.
        max_norm: U in (0, 1), the norm that the longest weight vector is scaled to ("simple": to 1 whatever U).
        projection: "rademacher" (entries +1 and -1) or "gaussian".

    Returns:
        `Tables`, with buckets where there are 2,048 units or more and at most 2^24 buckets a table.

    Raises:
        ValueError: if an argument is not as above. Values can be looked at only outside `jit`.
    """
    check_key(key)
    check_int("num_tables", num_tables, None)
    check_int("num_bits", num_bits, MOST_BITS)
    check_int("num_powers", num_powers, None)
    check_choice("transform", transform, TRANSFORMS)
    check_choice("projection", projection, PROJECTIONS)
    if not isinstance(max_norm, int | float) or not 0 < max_norm < 1:
        raise ValueError(f"max_norm must be a number in (0, 1), got {max_norm!r}")
    check_weights(weights, None)
    units, features = weights.shape
    dtype = jnp.promote_types(weights.dtype, jnp.float32)
    appended = 1 if transform == "simple" else num_powers
    draw = jax.random.rademacher if projection == "rademacher" else jax.random.normal
    vectors = draw(key, (features + appended, num_tables * num_bits)).astype(dtype)
    buckets = units >= _BUCKETS_FROM_UNITS and num_bits <= _MOST_BUCKET_BITS
    tables = Tables(
        projections=vectors[:features],
        tail=vectors[features:],
        codes=jnp.zeros((num_tables, units), jnp.int32),
        order=jnp.zeros((num_tables, units if buckets else 0), jnp.int32),
        offsets=jnp.zeros((num_tables, 2**num_bits + 1 if buckets else 0), jnp.int32),
        transform=jnp.int32(TRANSFORMS.index(transform)),
        max_norm=jnp.asarray(1.0 if transform == "simple" else max_norm, dtype),
    )
    return rebuild(tables, weights)


def rebuild(tables: Tables, weights: jax.Array) -> Tables:
    """Hashes the units again, by the same hash functions.

    Args:
        tables: from `build`.
        weights: `(units, features)` as `build` was given, with other values.

    Returns:
        `Tables` in which only `codes`, `order` and `offsets` are new.

    Raises:
        ValueError: if the shape of `weights` is another than `build` was given, or `build` would refuse their values.
    """
    codes = unit_codes(tables, weights)
    if not tables.has_buckets:
        return tables._replace(codes=codes)
    bounds = jnp.arange(tables.offsets.shape[-1], dtype=jnp.int32)

    def sort(codes):
        in_order, order = lax.sort_key_val(codes, jnp.arange(codes.shape[0], dtype=jnp.int32))
        return order, jnp.searchsorted(in_order, bounds).astype(jnp.int32)

    order, offsets = lax.map(sort, codes)  # a table after another: the memory of a sort is that of one
    return tables._replace(codes=codes, order=order, offsets=offsets)


def unit_codes(tables: Tables, weights: jax.Array, *, every: int = 1) -> jax.Array:
    """The codes of every `every`-th of the units, weights `(units, features)`: `(tables, ceil(units / every))`."""
    weights, norms, scale = _scaled(tables, weights)

    def code(unit):
        weights, norm = unit
        appended = _appended_to_weights(tables, norm[None] * scale)
        projected = _project(weights[None], tables.projections) * scale + _project(appended, tables.tail)
        return _codes(tables, projected)[0]

    return lax.map(code, (weights[::every], norms[::every]), batch_size=_UNITS_AT_ONCE).T


def query_codes(tables: Tables, x: jax.Array, features: jax.Array | None = None) -> jax.Array:
    """The codes of inputs.

    Args:
        tables: from `build`.
        x: `(batch, features)`; or `(batch, f)`, the values of the features `features` of inputs that are 0 elsewhere,
            of which only those features' projections are read.
        features: `(f,)` int32, distinct; an id past the last one must have the value 0.

    Returns:
        `(batch, tables)` int32.

    Raises:
        ValueError: as for `collisions`.
    """
    projections = tables.projections if features is None else tables.projections.at[features].get(mode="clip")
    x, norms = _query(projections, x)
    # Signs do not feel the scale: the tail is multiplied instead of dividing x.
    tail = _appended_to_query(tables) * jnp.sum(tables.tail, 0)
    return _codes(tables, _project(x, projections) + norms * tail[None, :])


def collisions(tables: Tables, x: jax.Array) -> jax.Array:
    """The number of tables in which each unit shares the bucket of each input.

    Args:
        tables: from `build`.
        x: `(batch, features)`.

    Returns:
        `(batch, units)` int32, from 0 to the number of tables.

    Raises:
        ValueError: if the shape of x does not fit, or its values are known and a row is of zeros or not finite.
    """
    same = query_codes(tables, x)[:, :, None] == tables.codes[None]
    return jnp.sum(same, 1, dtype=jnp.int32)


def cosines(tables: Tables, weights: jax.Array, x: jax.Array) -> jax.Array:
    """The cosine of the angle between P(w) and Q(x): what `collision_probability` takes.

    Args:
        tables: from `build`; no projection is used.
        weights: `(units, features)`.
        x: `(batch, features)`.

    Returns:
        `(batch, units)`; 0 where P(w) is 0.

    Raises:
        ValueError: if a shape does not fit, or `build` or `collisions` would refuse the values.
    """
    weights, norms, scale = _scaled(tables, weights)
    x, x_norms = _query(tables.projections, x)
    appended = _appended_to_weights(tables, norms * scale)
    constant = _appended_to_query(tables)
    inner = _project(x, weights.T) / x_norms * scale + (constant * jnp.sum(appended, -1))[None, :]
    p_norms = jnp.sqrt(jnp.square(norms * scale) + jnp.sum(jnp.square(appended), -1))
    q_norm = jnp.sqrt(1 + appended.shape[-1] * jnp.square(constant))
    return inner / (jnp.where(p_norms > 0, p_norms, 1)[None, :] * q_norm)


def collision_probability(cosine: jax.Array, num_bits: int, num_tables: int = 1) -> jax.Array:
    r"""The chance that two vectors meet in at least one of L tables: 1 - (1 - p^K)^L with p = 1 - theta / pi.

    Args:
        cosine: of the angle theta between P(w) and Q(x), any shape.
        num_bits: K.
        num_tables: L.

    Returns:
        Probabilities, shaped as `cosine`; exact for Gaussian projections.
    """
    agree = 1 - jnp.arccos(jnp.clip(cosine, -1, 1)) / jnp.pi
    return 1 - (1 - agree**num_bits) ** num_tables


def _scaled(tables: Tables, weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Weights in the tables' dtype, their norms `(units,)`, and the factor U / max |w| that makes them w~."""
    check_weights(weights, (tables.codes.shape[-1], tables.projections.shape[0]))
    weights = lax.stop_gradient(weights).astype(tables.projections.dtype)
    norms = jnp.sqrt(jnp.sum(jnp.square(weights), -1))
    longest = jnp.max(norms)
    return weights, norms, jnp.where(longest > 0, tables.max_norm / jnp.where(longest > 0, longest, 1), 0)


def _query(projections: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inputs in the projections' dtype, and their norms `(batch, 1)`; the norm of a row of zeros is taken as 1."""
    features = projections.shape[0]
    if getattr(x, "ndim", None) != 2 or x.shape[1] != features:
        raise ValueError(f"x must have shape (batch, {features}), as the tables' features, got {np.shape(x)}")
    check_finite("x", x)
    x = lax.stop_gradient(x).astype(projections.dtype)
    norms = jnp.sqrt(jnp.sum(jnp.square(x), -1, keepdims=True))
    return x, jnp.where(norms > 0, norms, 1)


def _appended_to_query(tables: Tables) -> jax.Array:
    """The number that Q appends to x^ in each place."""
    return jnp.where(tables.transform == TRANSFORMS.index("l2"), 0.5, 0.0).astype(tables.projections.dtype)


def _appended_to_weights(tables: Tables, norms: jax.Array) -> jax.Array:
    """The numbers that P appends for weights of these norms, which are at most 1: `(units, extra)`."""
    squares = jnp.square(norms)[:, None]
    powers = squares ** (2.0 ** jnp.arange(tables.tail.shape[0], dtype=norms.dtype))[None, :]
    rest = jnp.broadcast_to(jnp.sqrt(jnp.maximum(1 - squares, 0)), powers.shape)
    return lax.select_n(tables.transform, powers, 0.5 - powers, rest)


def _project(vectors: jax.Array, projections: jax.Array) -> jax.Array:
    return jnp.matmul(vectors, projections, precision=lax.Precision.HIGHEST)  # a sign must not depend on the platform


def _codes(tables: Tables, projected: jax.Array) -> jax.Array:
    """Signs of `(n, tables * bits)` projections as `(n, tables)` codes."""
    num_tables = tables.codes.shape[-2]
    bits = (projected >= 0).reshape(projected.shape[0], num_tables, -1)
    places = jnp.left_shift(1, jnp.arange(bits.shape[-1], dtype=jnp.int32))
    return jnp.sum(jnp.where(bits, places[None, None, :], 0), -1, dtype=jnp.int32)
