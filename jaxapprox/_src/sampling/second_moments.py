r"""What theory needs to know of a sampler: the second moments of the weights that it gives.

With random weights W_i (0 for a row that is not kept) the squared error of an estimate of y = \sum_i t_i is

    E |\hat y - y|^2 = \sum_{ij} <t_i, t_j> E[(W_i - 1) (W_j - 1)].

Of jaxapprox's own samplers the matrix of E[(W_i - 1) (W_j - 1)] is diagonal but for a term of rank one, so that the
error is the diagonal's part and one weighted sum of the terms, and no matrix of n by n numbers is needed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import jax


class Moments(NamedTuple):
    r"""Second moments E[(W_i - 1) (W_j - 1)] that are the matrix diag(diagonal) + sign * outer(vector, vector).

    The expected squared error is then \sum_i diagonal_i |t_i|^2 + sign * |\sum_i vector_i t_i|^2.

    >>> import jax.numpy as jnp
    >>> from jaxapprox import Moments, predicted_variance, with_second_moments
    >>> @with_second_moments(lambda scores, num_samples: Moments(jnp.ones_like(scores), jnp.zeros_like(scores), sign=1))
    ... def each_row_with_probability_a_half(key, scores, num_samples): ...
    >>> float(predicted_variance(each_row_with_probability_a_half, jnp.array([3.0, 4.0]), 1))
    25.0

    Attributes:
        diagonal: `(n,)`.
        vector: `(n,)`.
        sign: 1 or -1.
    """

    diagonal: jax.Array
    vector: jax.Array
    sign: int | jax.Array


class SecondMoments(Protocol):
    """E[(W_i - 1) (W_j - 1)], W_i the whole weight of row i in a draw: for scores `(n,)` the `Moments`, or `(n, n)`."""

    def __call__(self, scores: jax.Array, num_samples: int) -> Moments | jax.Array: ...


_S = TypeVar("_S", bound=Callable[..., Any])


def with_second_moments(second_moments: SecondMoments) -> Callable[[_S], _S]:
    r"""A decorator that states a sampler's theory: sets its attribute `second_moments`.

    The expected squared error of an estimate is \sum_{ij} <t_i, t_j> E[(W_i - 1) (W_j - 1)] with the terms t_i of the
    sum and the weights W_i of a draw, 0 for a row that is not drawn.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox import Moments, Sample, predicted_variance, with_second_moments
    >>> def moments(scores, num_samples):  # of n / k times the number of draws, which is binomial
    ...     n, k = scores.shape[0], num_samples
    ...     return Moments(jnp.full(n, n / k), jnp.full(n, k**-0.5), sign=-1)
    >>> @with_second_moments(moments)
    ... def with_replacement(key, scores, num_samples):
    ...     n = scores.shape[0]
    ...     return Sample(jax.random.randint(key, (num_samples,), 0, n), jnp.full(num_samples, n / num_samples))
    >>> float(predicted_variance(with_replacement, jnp.array([4.0, 2.0, 1.0, 0.0]), 2))
    31.5

    Args:
        second_moments: a function of scores `(n,)` and `num_samples` that gives `Moments`, or where they don't have
            that form the matrix `(n, n)`.

    Returns:
        A function that takes a sampler and returns the same one.
    """

    def state(sampler: Any) -> Any:
        sampler.second_moments = second_moments
        return sampler

    return state


def second_moments_of(sampler: Any, scores: jax.Array, num_samples: int) -> Moments | jax.Array:
    """The second moments that a sampler states.

    Raises:
        ValueError: if it states none, or they don't have the shape of `scores`.
    """
    second_moments = getattr(sampler, "second_moments", None)
    if second_moments is None:
        raise ValueError(
            f"sampler must state its second moments, got {sampler!r}, which has none: decorate it with"
            " jaxapprox.with_second_moments"
        )
    moments = second_moments(scores, num_samples)
    n = scores.shape[0]
    if isinstance(moments, Moments):
        expected, shape = f"({n},)", moments.diagonal.shape if moments.diagonal.shape != (n,) else moments.vector.shape
    else:
        expected, shape = f"({n}, {n})", moments.shape
    if str(shape) != expected:
        raise ValueError(f"sampler must state second moments of shape {expected}, got {shape} by {sampler!r}")
    return moments
