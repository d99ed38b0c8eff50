"""Wider dtypes, found also where JAX is told to promote none implicitly."""

import jax
import jax.numpy as jnp


def wider(*dtypes: jnp.dtype) -> jnp.dtype:
    """The dtype to which JAX's standard promotion takes operands of these dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*dtypes)


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """A floating dtype of 32 bits or more as it is, and float32 for any other: for sums of many numbers."""
    return wider(dtype, jnp.float32)
