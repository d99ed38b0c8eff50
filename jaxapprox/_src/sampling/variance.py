"""How much noise a sampler adds: the mean squared error that theory predicts."""

import jax
import jax.numpy as jnp

from jaxapprox._src.sampling.samplers import Sampler
from jaxapprox._src.sampling.scores import checked_scores


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
        scores: `(n,)`, the non-negative scores that the sampler is given.
        num_samples: k, a Python int in [1, n].
        gram: `(n, n)` inner products of the terms; for `a @ b` that is `(a.T @ a) * (b @ b.T)`. Without it
            the terms are taken as orthogonal, with the scores as their norms: incoherent rows.

    Returns:
        A scalar, in the squared unit of y.

    Raises:
        ValueError: if an argument is not as above.
    """
    second_moments = getattr(sampler, "second_moments", None)
    if second_moments is None:
        raise ValueError(
            f"sampler must state its second moments, got {sampler!r}, which has none: decorate it with"
            " jaxapprox.with_second_moments"
        )
    checked_scores(scores, num_samples)
    n = scores.shape[0]
    if gram is not None and gram.shape != (n, n):
        raise ValueError(f"gram must have shape ({n}, {n}), as scores has {n} rows, got {gram.shape}")
    moments = second_moments(scores, num_samples)
    if moments.shape != (n, n):
        raise ValueError(f"sampler must state second moments of shape ({n}, {n}), got {moments.shape} by {sampler!r}")
    return jnp.sum(jnp.square(scores) * jnp.diag(moments)) if gram is None else jnp.sum(gram * moments)
