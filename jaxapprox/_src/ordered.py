"""Searches and running maxima of short arrays, which take one kernel on an accelerator and not one for each step."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.varying import same_varying

_MOST_PAIRS = 1 << 20  # that are compared all with all: no array of them is written


def searchsorted(values: jax.Array, points: jax.Array, side: str = "left") -> jax.Array:
    """`jnp.searchsorted` for vectors: on accelerators all with all if they are short, by bisection otherwise."""
    values, points = same_varying(values, points)  # one type, which it needs before JAX 0.10

    def bisect(values: jax.Array, points: jax.Array) -> jax.Array:
        return jnp.searchsorted(values, points, side=side)

    def compare(values: jax.Array, points: jax.Array) -> jax.Array:
        return jnp.searchsorted(values, points, side=side, method="compare_all")

    if values.size * points.size > _MOST_PAIRS:
        return bisect(values, points)
    return lax.platform_dependent(values, points, cpu=bisect, default=compare)


def cummax(numbers: jax.Array) -> jax.Array:
    """`lax.cummax` of a vector of integers, likewise."""

    def compare(numbers: jax.Array) -> jax.Array:
        at = lax.iota(jnp.int32, numbers.size)
        least = jnp.iinfo(numbers.dtype).min
        return jnp.max(jnp.where(at[None, :] <= at[:, None], numbers[None, :], least), axis=1)

    if numbers.size**2 > _MOST_PAIRS:
        return lax.cummax(numbers)
    return lax.platform_dependent(numbers, cpu=lax.cummax, default=compare)
