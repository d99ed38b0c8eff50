"""Loops over blocks of consecutive classes, so that no array of all classes' scores is ever there.

Scores are `(classes, batch)` in this package: the gradient in the weights needs no transposition then.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.checks import check_int
from jaxapprox._src.varying import same_varying
from jaxapprox._src.wide import at_least_float32, wider

BLOCK_SIZE = 4096
"""Classes in a block: on a CPU their scores for a batch of 128 stay in its cache."""


def over_blocks(body: Callable[[Any, jax.Array, int], Any], carry: Any, classes: int, block_size: int) -> Any:
    """`carry` after `body(carry, first, size)` for each block: `size` classes from `first` on."""
    check_int("block_size", block_size, None)
    block_size = min(block_size, classes)
    whole = classes // block_size
    if whole == 1:
        carry = body(carry, jnp.int32(0), block_size)
    else:
        carry = lax.fori_loop(0, whole, lambda i, carry: body(carry, jnp.int32(i * block_size), block_size), carry)
    rest = classes - whole * block_size
    return body(carry, jnp.int32(whole * block_size), rest) if rest else carry


def take_block(array: jax.Array, first: jax.Array, size: int) -> jax.Array:
    """`size` rows from `first` on."""
    first, array = same_varying(first, array)
    return lax.dynamic_slice_in_dim(array, first, size)


def scores(hidden: jax.Array, weights: jax.Array, bias: jax.Array) -> jax.Array:
    """`(n, batch)`: the scores of n classes, weights `(n, features)`, in float32 at least."""
    return product(weights, hidden.T) + bias[:, None]


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """A matrix product whose sums, and value, are of float32 at least."""
    dtype = wider(left.dtype, right.dtype)
    left, right = left.astype(dtype), right.astype(dtype)
    return jnp.matmul(left, right, preferred_element_type=at_least_float32(dtype))


def log_sum(hidden: jax.Array, weights: jax.Array, bias: jax.Array, block_size: int) -> jax.Array:
    """log of the sum of exp(score) over the classes: `(batch,)`."""

    def add(carry, first, size):
        return fold(carry, scores(hidden, take_block(weights, first, size), take_block(bias, first, size)))

    largest, scaled = over_blocks(add, nothing_summed(hidden, weights), weights.shape[0], block_size)
    return largest + jnp.log(scaled)


def nothing_summed(hidden: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The carry with which `fold` begins."""
    dtype, batch = at_least_float32(wider(hidden.dtype, weights.dtype)), hidden.shape[0]
    return same_varying(jnp.full(batch, -jnp.inf, dtype), jnp.zeros(batch, dtype), hidden, weights)[:2]


def fold(carry: tuple[jax.Array, jax.Array], scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The carry (m, s), of the sum exp(m) * s, with exp(scores) `(n, batch)` added; m is the largest score."""
    before, scaled = carry
    largest = jnp.maximum(before, jnp.max(scores, 0))
    shift = jnp.where(jnp.isneginf(largest), 0, largest)  # a sum without terms is 0, not NaN
    return largest, scaled * jnp.exp(before - shift) + jnp.sum(jnp.exp(scores - shift[None]), 0)
