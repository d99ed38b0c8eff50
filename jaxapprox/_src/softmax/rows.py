"""Scores of some of the classes, from their rows of the weights, and the gradients by these rows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.blockwise.active_rows import RowGradient
from jaxapprox._src.softmax.class_blocks import product

PullBack = Callable[[jax.Array], tuple[jax.Array, RowGradient]]
"""From `(batch, n)`, the gradient in scores, to that in hidden and, by rows, in weights and bias."""


def row_scores(hidden: jax.Array, weights: jax.Array, bias: jax.Array, rows: jax.Array) -> tuple[jax.Array, PullBack]:
    """The scores of some rows, and their pull-back.

    Args:
        hidden: `(batch, features)`.
        weights: `(classes, features)`.
        bias: `(classes,)`.
        rows: `(n,)` int32 for the whole batch, or `(batch, n)`. One past the last row has the score 0 and no gradient.

    Returns:
        `(batch, n)` scores, in float32 at least.
    """
    shared = rows.ndim == 1
    is_used = jnp.atleast_2d(rows < weights.shape[0])
    # Zeros where there is no row: another row's NaN would go through a product with a gradient of 0. Read once, as in
    # `blocks.take`.
    picked = lax.optimization_barrier(weights.at[rows].get(mode="fill", fill_value=0))
    picked_bias = jnp.atleast_2d(bias.at[rows].get(mode="fill", fill_value=0))

    def of_all(hidden):
        y = product(hidden, picked.T) if shared else product(hidden[:, None, :], picked.swapaxes(1, 2))[:, 0]
        return jnp.where(is_used, y + picked_bias, 0)

    def pull_back(g):
        g = jnp.where(is_used, g, 0)
        dhidden = product(g, picked) if shared else product(g[:, None, :], picked)[:, 0]
        return dhidden, RowGradient(rows, g, hidden)

    return of_all(hidden), pull_back
