"""How much noise a sampler adds: the mean squared error that theory predicts."""

import jax
import jax.numpy as jnp

from jaxapprox._src.sampling.samplers import Sampler
from jaxapprox._src.sampling.scores import check_scores
from jaxapprox._src.sampling.second_moments import Moments, second_moments_of
from jaxapprox._src.wide import at_least_float32


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
        sampler: any that states its second moments by `with_second_moments`, as all of jaxapprox's own do for their
            default options. The prediction is exact, but for `systematic` approximate: a few per cent off for tens of
            rows.
        scores: `(n,)`, the non-negative scores that the sampler is given; a negative one counts as zero.
        num_samples: k, a Python int in [1, n].
        gram: `(n, n)` inner products of the terms; for `a @ b` that is `(a.T @ a) * (b @ b.T)`. Without it
            the terms are taken as orthogonal, with the scores as their norms: incoherent rows.

    Returns:
        A scalar, in the squared unit of y; without `gram` NaN or infinite where a score is.

    Raises:
        ValueError: if the shape of `scores` or another argument is not as above.
    """
    check_scores(scores, num_samples)
    n = scores.shape[0]
    if gram is not None and gram.shape != (n, n):
        raise ValueError(f"gram must have shape ({n}, {n}), as scores has {n} rows, got {gram.shape}")
    return _quadratic(second_moments_of(sampler, scores, num_samples), scores, gram)


@jax.jit
def _quadratic(moments: Moments | jax.Array, scores: jax.Array, gram: jax.Array | None) -> jax.Array:
    if gram is None:
        diagonal = (
            moments.diagonal + moments.sign * jnp.square(moments.vector)
            if isinstance(moments, Moments)
            else jnp.diag(moments)
        )
        norms = jnp.maximum(scores.astype(at_least_float32(scores.dtype)), 0)
        return jnp.sum(jnp.square(norms) * diagonal)
    gram = gram.astype(at_least_float32(gram.dtype))
    if isinstance(moments, Moments):
        together = jnp.vdot(moments.vector, gram @ moments.vector)
        return jnp.sum(moments.diagonal * jnp.diag(gram)) + moments.sign * together
    return jnp.sum(gram * moments)
