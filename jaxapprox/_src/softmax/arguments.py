"""What every function of this package is given: an output layer's inputs, its weights, and labels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxapprox._src.varying import same_varying


def output_layer(hidden: Any, weights: Any, bias: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The three as arrays of one type under `jax.shard_map`; for no bias, zeros.

    Raises:
        ValueError: if a shape or dtype does not fit.
    """
    weights, hidden = jnp.asarray(weights), jnp.asarray(hidden)
    if weights.ndim != 2 or 0 in weights.shape or not jnp.issubdtype(weights.dtype, jnp.floating):
        got = f"shape {weights.shape}, {weights.dtype}"
        raise ValueError(f"weights must be a floating array (classes, features), got {got}")
    classes, features = weights.shape
    if hidden.ndim != 2 or hidden.shape[1] != features or not jnp.issubdtype(hidden.dtype, jnp.floating):
        got = f"shape {hidden.shape}, {hidden.dtype}"
        raise ValueError(f"hidden must be a floating array (batch, {features}), as the weights' features, got {got}")
    bias = jnp.zeros(classes, weights.dtype) if bias is None else jnp.asarray(bias)
    if bias.shape != (classes,):
        raise ValueError(f"bias must have shape ({classes},), as there are classes, or be None, got {bias.shape}")
    return same_varying(hidden, weights, bias)


def label_columns(labels: Any, batch: int, classes: int) -> jax.Array:
    """Labels as `(batch, labels of an example)` int32.

    Args:
        labels: `(batch,)` or `(batch, m)` integers, -1 for an unused slot.
        batch: how many examples there are.
        classes: how many classes there are in all.

    Raises:
        ValueError: if a shape or dtype does not fit; or a value, where values are known.
    """
    labels = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    shape, dtype = labels.shape, labels.dtype
    if len(shape) not in (1, 2) or shape[0] != batch or not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"labels must be integers ({batch},) or ({batch}, m), got shape {shape}, {dtype}")
    if not isinstance(labels, jax.core.Tracer):
        values = np.asarray(labels)
        wrong = values[(values < -1) | (values >= classes)]
        if wrong.size:
            raise ValueError(f"labels must be from 0 to {classes - 1}, or -1 for an unused slot, got {wrong[0]}")
    return jnp.asarray(labels).reshape(batch, -1).astype(jnp.int32)


def label_shares(labels: jax.Array, classes: int) -> jax.Array:
    """Each label's share of its example's loss, `(batch, m)`: NaN for one out of range, 0 for an unused slot."""
    is_used = (labels != -1).astype(jnp.float32)
    share = is_used / jnp.maximum(jnp.sum(is_used, 1, keepdims=True), 1)
    return jnp.where((labels >= -1) & (labels < classes), share, jnp.nan)
