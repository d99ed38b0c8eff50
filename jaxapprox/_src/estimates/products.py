"""The products that layers compute, as `jax.lax` and `jax.numpy` have them, estimated by Monte Carlo.

Each takes a method and a key before the arguments of its model, so that with both bound it can stand in its place:
`functools.partial(dot_general, method, key)` for `lax.dot_general`. Without a key the product is exact.
"""

from collections.abc import Sequence
from typing import Any

import jax

from jaxapprox._src.estimates.contraction import MC


def conv_general_dilated(
    method: MC,
    key: jax.Array | None,
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """`lax.conv_general_dilated`: lhs `(batch, *spatial, in)`, rhs `(*window, in / groups, out)`."""
    raise NotImplementedError


def conv_transpose(
    method: MC,
    key: jax.Array | None,
    lhs: jax.Array,
    rhs: jax.Array,
    strides: Sequence[int],
    padding: Any,
    rhs_dilation: Sequence[int] | None = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """`lax.conv_transpose`: lhs `(batch, *spatial, in)`, rhs `(*window, in, out)`, in and out swapped if transposed."""
    raise NotImplementedError


def dot_general(
    method: MC,
    key: jax.Array | None,
    lhs: jax.Array,
    rhs: jax.Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """`lax.dot_general`: lhs is the layer's input, rhs its kernel."""
    raise NotImplementedError


def einsum(
    method: MC,
    key: jax.Array | None,
    equation: str,
    lhs: jax.Array,
    rhs: jax.Array,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """`jnp.einsum` of two operands: lhs is the layer's input, rhs its kernel."""
    raise NotImplementedError
