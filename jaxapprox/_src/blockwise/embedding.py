"""An embedding whose gradient stays the rows that were looked up."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.blockwise.blocks import Block, add_up
from jaxapprox._src.explicit_axes import split_as, split_of


def embed(weights: jax.Array, ids: jax.Array) -> tuple[jax.Array, Callable[[jax.Array], Block]]:
    """Looks rows up, and gives the gradient in them without an array as large as the weights.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> from jaxapprox import active_rows
    >>> from jaxapprox.lazy import apply_updates, lazy
    >>> words = jnp.ones((1000, 2))
    >>> y, pull_back = active_rows.embed(words, jnp.array([[7, 42, 7]]))
    >>> optimizer = lazy(optax.sgd(0.1))
    >>> updates, state = optimizer.update(pull_back(y), optimizer.init(words))  # the gradient of |y|^2 / 2
    >>> words = apply_updates(words, updates)
    >>> print(words[jnp.array([6, 7, 42])])
    [[1.  1. ]
     [0.8 0.8]
     [0.9 0.9]]

    Args:
        weights: `(units, features)`, such as the `embedding` of a `flax.linen.Embed`.
        ids: int32 of any shape. One outside [0, units), as for padding, looks zeros up and has no gradient.

    Returns:
        `(*ids.shape, features)`, and a function of the gradient in it that gives a `jaxapprox.blocks.Block` of the
        weights: its rows are distinct, and what ids name more than once is added up.

    Raises:
        ValueError: if a shape does not fit.
    """
    if weights.ndim != 2:
        raise ValueError(f"weights must have shape (units, features), got {weights.shape}")
    units, features = weights.shape

    def rows(weights, ids):
        ids = jnp.where(ids < 0, units, ids)  # NumPy's meaning of a negative id is no padding
        return weights.at[ids].get(mode="fill", fill_value=0)

    # Read once, and before the weights are written: see `blocks.take`.
    values = lax.optimization_barrier(split_as(split_of(ids), rows, weights, ids))

    def pull_back(g: jax.Array) -> Block:
        if g.shape != values.shape:
            raise ValueError(f"g must have the shape of the output, {values.shape}, got {g.shape}")
        return add_up(ids.reshape(-1), g.reshape(-1, features), units)

    return values, pull_back
