"""Codes of units and of inputs, and where they collide."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxapprox._src.checks import check_weights
from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.hashing.tables import TRANSFORMS, Tables, as_tables
from jaxapprox._src.row_blocks import over_blocks, take_block
from jaxapprox._src.varying import same_varying

_UNITS_AT_ONCE = 1 << 14  # to project: what bounds the memory that hashing a large layer takes


def unit_codes(tables: Tables, weights: jax.Array, bias: jax.Array | None = None, *, every: int = 1) -> jax.Array:
    """The codes of every `every`-th of the units: `(tables, ceil(units / every))`.

    Weights are `(units, features)`; a bias `(units,)` is one more feature. They are read in blocks, where they are.
    """
    check_weights(weights, (tables.codes.shape[-1], tables.projections.shape[0] - (bias is not None)))
    weights, bias = lax.stop_gradient((weights, bias))
    dtype, features = tables.projections.dtype, weights.shape[1]
    squares = jnp.sum(jnp.square(weights.astype(dtype)), -1)
    norms = jnp.sqrt(squares if bias is None else squares + jnp.square(bias.astype(dtype)))
    scale = _scale_of(tables, norms)
    rows, norms = (weights, norms) if every == 1 else (weights[::every], norms[::every])
    bias = bias if bias is None else bias[::every]

    def block(codes, first, size):
        projected = _project(take_block(rows, first, size).astype(dtype), tables.projections[:features])
        if bias is not None:
            projected += take_block(bias, first, size).astype(dtype)[:, None] * tables.projections[features:]
        appended = _appended_to_weights(tables, take_block(norms, first, size) * scale)
        own = _codes(tables, projected * scale + _project(appended, tables.tail))
        return lax.dynamic_update_slice_in_dim(codes, own, first, 0)

    codes = jnp.zeros((rows.shape[0], tables.codes.shape[-2]), jnp.int32)
    return over_blocks(block, same_varying(codes, rows, bias, tables)[0], rows.shape[0], _UNITS_AT_ONCE).T


def query_codes(tables: Tables, x: jax.Array, features: jax.Array | None = None) -> jax.Array:
    """The codes of inputs.

    Args:
        tables: from `build`.
        x: `(batch, features)`; or `(batch, f)`, the values of the features `features` of inputs that are 0 elsewhere,
            of which only those features' projections are read. Inputs of zeros all have the same code; NaN and
            infinity give valid codes that mean nothing.
        features: `(f,)` int32, distinct; an id past the last one must have the value 0.

    Returns:
        `(batch, tables)` int32.

    Raises:
        ValueError: as for `collisions`.
    """
    tables = as_tables(tables)
    check_inputs(x, (tables.projections if features is None else features).shape[0])
    return split_as(split_of(x, 1), _query_codes, tables, x, features)


def _query_codes(tables: Tables, x: jax.Array, features: jax.Array | None) -> jax.Array:
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
        ValueError: if the shape of x does not fit.
    """
    tables = as_tables(tables)

    def count(tables, codes):
        return jnp.sum(codes[:, :, None] == tables.codes[None], 1, dtype=jnp.int32)

    return split_as(split_of(x, 1), count, tables, query_codes(tables, x))


def cosines(tables: Tables, weights: jax.Array, x: jax.Array) -> jax.Array:
    """The cosine of the angle between P(w) and Q(x): what `collision_probability` takes.

    Args:
        tables: from `build`; no projection is used.
        weights: `(units, features)`.
        x: `(batch, features)`.

    Returns:
        `(batch, units)`; 0 where P(w) is 0.

    Raises:
        ValueError: if a shape does not fit.
    """
    tables = as_tables(tables)
    check_inputs(x, tables.projections.shape[0])
    return split_as(split_of(x, 1), _cosines, tables, weights, x)


def _cosines(tables: Tables, weights: jax.Array, x: jax.Array) -> jax.Array:
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
    return weights, norms, _scale_of(tables, norms)


def _scale_of(tables: Tables, norms: jax.Array) -> jax.Array:
    """U / max |w|."""
    longest = jnp.max(norms)
    return jnp.where(longest > 0, tables.max_norm / jnp.where(longest > 0, longest, 1), 0)


def check_inputs(x: jax.Array, features: int) -> None:
    """Refuses all but inputs `(batch, features)`."""
    if getattr(x, "ndim", None) != 2 or x.shape[1] != features:
        raise ValueError(f"x must have shape (batch, {features}), as the tables' features, got {np.shape(x)}")


def _query(projections: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inputs in the projections' dtype, and their norms `(batch, 1)`; the norm of a row of zeros is taken as 1."""
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
    bits = (projected >= 0).reshape(projected.shape[0], num_tables, projected.shape[1] // num_tables)
    places = jnp.left_shift(1, jnp.arange(bits.shape[-1], dtype=jnp.int32))
    return jnp.sum(jnp.where(bits, places[None, None, :], 0), -1, dtype=jnp.int32)
