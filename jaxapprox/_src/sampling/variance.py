r"""How much noise a sampler adds: the mean squared error that theory predicts.

The estimate of y = \sum_i t_i is \hat y = \sum_i W_i t_i with random weights W_i, so that

    E |\hat y - y|^2 = \sum_{ij} <t_i, t_j> E[(W_i - 1) (W_j - 1)].

Each sampler is described by that matrix of second moments; `predicted_variance` contracts it with the rows' inner
products. It is exact for every sampler but `systematic`, whose joint inclusion probabilities follow the high-entropy
approximation of Hajek (1964): a few per cent off for tens of rows.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxapprox._src.sampling.samplers import (
    Sampler,
    bernoulli,
    checked_scores,
    importance,
    inclusion_probabilities,
    systematic,
    topk,
    uniform,
)


def predicted_variance(
    sampler: Sampler, scores: jax.Array, num_samples: int, *, gram: jax.Array | None = None
) -> jax.Array:
    r"""E |\hat y - y|^2, the expected squared Frobenius error of the estimate (for `topk`, its squared bias).

    >>> import jax.numpy as jnp
    >>> from jaxapprox import predicted_variance, systematic, topk, uniform
    >>> scores = jnp.array([4.0, 2.0, 1.0, 0.0])
    >>> float(predicted_variance(uniform, scores, 2)), float(predicted_variance(topk, scores, 2))
    (21.0, 1.0)
    >>> bool(predicted_variance(systematic, scores, 2) < predicted_variance(uniform, scores, 2))
    True

    Args:
        sampler: one of the five of `jaxapprox.sampling`, with its default options.
        scores: `(n,)`, the non-negative scores that the sampler is given.
        num_samples: k, a Python int in [1, n].
        gram: `(n, n)` inner products of the terms; for `a @ b` that is `(a.T @ a) * (b @ b.T)`. Without it
            the terms are taken as orthogonal, with the scores as their norms: incoherent rows.

    Returns:
        A scalar, in the squared unit of y.

    Raises:
        ValueError: if an argument is not as above.
    """
    if sampler not in _SECOND_MOMENTS:
        raise ValueError(f"sampler must be one of the five of jaxapprox.sampling, got {sampler!r}")
    checked_scores(scores, num_samples)
    n = scores.shape[0]
    if gram is not None and gram.shape != (n, n):
        raise ValueError(f"gram must have shape ({n}, {n}), as scores has {n} rows, got {gram.shape}")
    moments = _SECOND_MOMENTS[sampler](scores, num_samples)
    return jnp.sum(jnp.square(scores) * jnp.diag(moments)) if gram is None else jnp.sum(gram * moments)


def _topk(scores: jax.Array, k: int) -> jax.Array:
    dropped = jnp.ones_like(scores).at[topk(jax.random.key(0), scores, k).indices].set(0)  # the key is not used
    return jnp.outer(dropped, dropped)


def _uniform(scores: jax.Array, k: int) -> jax.Array:
    n = scores.shape[0]
    together = -(n - k) / (k * max(1, n - 1))
    return jnp.full((n, n), together).at[jnp.diag_indices(n)].set(n / k - 1)


def _importance(scores: jax.Array, k: int) -> jax.Array:
    # With one draw, inclusion probabilities are draw probabilities.
    return (jnp.diag(1 / inclusion_probabilities(scores, 1)) - 1) / k


def _bernoulli(scores: jax.Array, k: int) -> jax.Array:
    return jnp.diag(1 / inclusion_probabilities(scores, k) - 1)


def _systematic(scores: jax.Array, k: int) -> jax.Array:
    pi = inclusion_probabilities(scores, k)
    left_out = 1 - pi
    spread = jnp.sum(pi * left_out)
    together = -jnp.outer(left_out, left_out) / jnp.where(spread > 0, spread, 1)
    return together.at[jnp.diag_indices(scores.shape[0])].set(1 / pi - 1)


_SECOND_MOMENTS: dict[Sampler, Callable[[jax.Array, int], jax.Array]] = {
    topk: _topk,
    uniform: _uniform,
    importance: _importance,
    bernoulli: _bernoulli,
    systematic: _systematic,
}
