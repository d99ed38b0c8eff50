"""Scores of some of the classes, from their rows of the weights, and the gradients by these rows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.blockwise.active_rows import RowGradient
from jaxapprox._src.softmax.class_blocks import product

PullBack = Callable[[jax.Array], tuple[jax.Array, RowGradient]]
"""From `(n, batch)`, the gradient in scores, to that in hidden and, by rows, in weights and bias."""


def row_scores(hidden: jax.Array, weights: jax.Array, bias: jax.Array, rows: jax.Array) -> tuple[jax.Array, PullBack]:
    """The scores of some rows, and their pull-back.

    Args:
        hidden: `(batch, features)`.
        weights: `(classes, features)`.
        bias: `(classes,)`.
        rows: `(n,)` int32 for the whole batch, or `(batch, n)`. One past the last row has the score 0 and no gradient.

    Returns:
        `(n, batch)` scores, in float32 at least.
    """
    shared = rows.ndim == 1
    is_used = by_class(rows < weights.shape[0])
    # Zeros where there is no row: another row's NaN would go through a product with a gradient of 0. Read once, as in
    # `blocks.take`.
    picked = lax.optimization_barrier(weights.at[rows].get(mode="fill", fill_value=0)).astype(hidden.dtype)
    picked_bias = by_class(bias.at[rows].get(mode="fill", fill_value=0))

    def of_all(hidden):
        y = product(picked, hidden.T) if shared else product(picked, hidden[:, :, None])[:, :, 0].T
        return jnp.where(is_used, y + picked_bias, 0)

    def pull_back(g):
        g = jnp.where(is_used, g, 0)
        dhidden = product(g.T, picked) if shared else product(g.T[:, None, :], picked)[:, 0]
        return dhidden, RowGradient(rows, g.T, hidden)

    return of_all(hidden), pull_back


def by_class(values: jax.Array) -> jax.Array:
    """Values of `(n,)` classes, or `(batch, n)`, as `(n, 1)` or `(n, batch)`."""
    return values[:, None] if values.ndim == 1 else values.T
