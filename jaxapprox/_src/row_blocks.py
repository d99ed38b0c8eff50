"""Loops over blocks of consecutive rows of large arrays, which are read where they are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.checks import check_int
from jaxapprox._src.varying import same_varying

_ON_CPU, _ELSEWHERE = 4096, 65536


def over_blocks(body: Callable[[Any, jax.Array, int], Any], carry: Any, rows: int, block_size: int | None) -> Any:
    """`carry` after `body(carry, first, size)` for each block: `size` rows from `first` on; None for as suits."""
    if block_size is None:
        if rows <= _ON_CPU:
            return over_blocks(body, carry, rows, rows)
        return lax.platform_dependent(
            carry,
            cpu=lambda carry: over_blocks(body, carry, rows, _ON_CPU),
            default=lambda carry: over_blocks(body, carry, rows, _ELSEWHERE),
        )
    check_int("block_size", block_size, None)
    block_size = min(block_size, rows)
    whole = rows // block_size
    if whole == 1:
        carry = body(carry, jnp.int32(0), block_size)
    else:
        carry = lax.fori_loop(0, whole, lambda i, carry: body(carry, jnp.int32(i * block_size), block_size), carry)
    rest = rows - whole * block_size
    return body(carry, jnp.int32(whole * block_size), rest) if rest else carry


def take_block(array: jax.Array, first: jax.Array, size: int) -> jax.Array:
    """`size` rows from `first` on."""
    first, array = same_varying(first, array)
    return lax.dynamic_slice_in_dim(array, first, size)
