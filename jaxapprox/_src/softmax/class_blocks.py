"""Loops over blocks of consecutive classes, so that no array of all classes' scores is ever there.

Scores are `(classes, batch)` in this package: the gradient in the weights needs no transposition then.
"""

import jax
import jax.numpy as jnp

from jaxapprox._src.row_blocks import over_blocks, take_block
from jaxapprox._src.varying import same_varying
from jaxapprox._src.wide import at_least_float32, wider


def scores(hidden: jax.Array, weights: jax.Array, bias: jax.Array) -> jax.Array:
    """`(n, batch)`: the scores of n classes, weights `(n, features)` cast to hidden's dtype, in float32 at least."""
    return product(weights.astype(hidden.dtype), hidden.T) + bias[:, None]


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """A matrix product whose sums, and value, are of float32 at least."""
    dtype = wider(left.dtype, right.dtype)
    left, right = left.astype(dtype), right.astype(dtype)
    return jnp.matmul(left, right, preferred_element_type=at_least_float32(dtype))


def log_sum(hidden: jax.Array, weights: jax.Array, bias: jax.Array, block_size: int | None) -> jax.Array:
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
