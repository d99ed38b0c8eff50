"""Dtypes in which many numbers are added up."""

import jax.numpy as jnp


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """A floating dtype of 32 bits or more as it is, and float32 for any other; also where JAX promotes no dtypes."""
    is_wide = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits >= 32
    return jnp.dtype(dtype) if is_wide else jnp.dtype(jnp.float32)
