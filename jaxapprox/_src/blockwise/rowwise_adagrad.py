"""Adagrad with one second moment for each row."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class RowwiseAdagradState(NamedTuple):
    """The accumulators, `(rows, 1, ...)`, or `(rows,)` for a vector: a tree of the parameters' structure."""

    mean_of_squares: Any


def rowwise_adagrad(
    learning_rate: optax.ScalarOrSchedule, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> optax.GradientTransformation:
    r"""Adagrad with one accumulator for each row, the sum of its gradients' mean squares.

    s_r \leftarrow s_r + mean_j g_rj^2, u_rj = -learning\_rate g_rj / \sqrt{s_r + eps}: the "row-wise Adagrad" with
    which large embeddings are trained. Its state has one number for each row, where `optax.adagrad`, with the same
    defaults, has one for each entry. The two are equal for rows of one entry, such as those of a vector.

    >>> import jax.numpy as jnp
    >>> from jaxapprox import active_rows
    >>> from jaxapprox.lazy import apply_updates, lazy, rowwise_adagrad
    >>> optimizer, words = lazy(rowwise_adagrad(0.1)), jnp.ones((1000, 64))
    >>> state = optimizer.init(words)
    >>> y, pull_back = active_rows.embed(words, jnp.array([7, 42]))
    >>> updates, state = optimizer.update(pull_back(y), state)
    >>> words = apply_updates(words, updates)

    Args:
        learning_rate: a number or a schedule.
        initial_accumulator_value: the accumulators' first value.
        eps: added under the root.

    Returns:
        An optax pair. It takes parameters of one axis or more, the first of which are rows; its blocks must have whole
        rows.

    References:
        Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation Systems, 2019
        (arXiv:1906.00091); the optimizer is EXACT_ROWWISE_ADAGRAD in PyTorch's FBGEMM.
    """

    def init(params: Any) -> RowwiseAdagradState:
        def accumulator(array: jax.Array) -> jax.Array:
            shape = (*array.shape[:1], *(1 for _ in array.shape[1:]))
            return jnp.full_like(array, initial_accumulator_value, shape=shape)

        return RowwiseAdagradState(jax.tree.map(accumulator, params))

    def update(updates: Any, state: RowwiseAdagradState, params: Any = None) -> tuple[Any, RowwiseAdagradState]:
        del params

        def added(gradient: jax.Array, sums: jax.Array) -> jax.Array:
            if sums.shape != (*gradient.shape[:1], *(1 for _ in gradient.shape[1:])):
                raise ValueError(f"updates must have whole rows, got {gradient.shape} for accumulators {sums.shape}")
            return sums + jnp.mean(jnp.square(gradient), tuple(range(1, gradient.ndim)), keepdims=True)

        sums = jax.tree.map(added, updates, state.mean_of_squares)
        scaled = jax.tree.map(lambda g, s: g * jax.lax.rsqrt(s + eps), updates, sums)
        return scaled, RowwiseAdagradState(sums)

    return optax.chain(optax.GradientTransformation(init, update), optax.scale_by_learning_rate(learning_rate))
