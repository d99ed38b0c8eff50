"""What scores say about rows: how likely each is to be drawn.

Scores are used as follows: a negative score counts as zero, a NaN or infinite one as the largest (so that the row is
kept, and shows), and all-zero scores as equal ones. Outside of tracing, negative and NaN scores are a `ValueError`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_SMALLEST_SHARE = 1e-20  # keeps every inclusion probability positive when `uniform_mix` is zero


def inclusion_probabilities(scores: jax.Array, num_samples: int, *, uniform_mix: float = 0.1) -> jax.Array:
    r"""pi_i = min(1, lambda s~_i) with lambda such that they sum to `num_samples`; each is in (0, 1].

    s~ = (1 - uniform_mix) s / \sum s + uniform_mix / n. The largest rows are kept for certain and the others share what
    is left, which minimises the variance of `bernoulli` for the scores s~.

    >>> import jax.numpy as jnp
    >>> from jaxapprox import inclusion_probabilities
    >>> print(inclusion_probabilities(jnp.array([6.0, 1.0, 1.0]), 2, uniform_mix=0))
    [1.  0.5 0.5]

    Args:
        scores: `(n,)` non-negative.
        num_samples: k, a Python int in [1, n].
        uniform_mix: in [0, 1]; 1 makes all probabilities k / n.

    Returns:
        `(n,)` float32 (or wider, as the scores).

    Raises:
        ValueError: if an argument is not as above.
    """
    shares = shares_of(checked_scores(scores, num_samples), uniform_mix)
    n, k = shares.shape[0], num_samples
    if k == n:
        return jnp.ones_like(shares)
    largest_first = lax.top_k(shares, n)[0]
    tails = jnp.cumsum(largest_first[::-1])[::-1]  # tails[m]: what all but the m largest add up to
    certain = jnp.arange(k)
    scale = (k - certain) / tails[:k]
    certain_count = jnp.argmax(scale * largest_first[:k] <= 1)  # the last candidate always fits
    probabilities = jnp.minimum(1, scale[certain_count] * shares)
    # Ties with the m-th largest share stay below 1 by construction; the m largest are exactly 1.
    return jnp.where((certain_count > 0) & (shares >= largest_first[certain_count - 1]), 1, probabilities)


def checked_scores(scores: jax.Array, num_samples: int) -> jax.Array:
    """`scores` as finite non-negative numbers of at least float32, without a gradient."""
    if getattr(scores, "ndim", None) != 1 or scores.shape[0] == 0:
        raise ValueError(f"scores must have shape (n,) with n >= 1, got shape {np.shape(scores)}")
    n = scores.shape[0]
    if isinstance(num_samples, bool) or not isinstance(num_samples, int | np.integer) or not 1 <= num_samples <= n:
        raise ValueError(f"num_samples must be a Python int between 1 and n = {n}, got {num_samples!r}")
    if not isinstance(scores, jax.core.Tracer) and not np.all(np.asarray(scores) >= 0):
        raise ValueError("scores must be non-negative numbers, got a negative or NaN one")
    return finite_scores(scores)


def finite_scores(scores: jax.Array) -> jax.Array:
    """Negative scores become 0; NaN, infinite and huger ones the largest that n of them can have without overflow."""
    scores = lax.stop_gradient(scores).astype(jnp.promote_types(scores.dtype, jnp.float32))
    largest = jnp.finfo(scores.dtype).max / (8 * scores.shape[0])  # 1 / sum is a normal number too
    return jnp.where(scores <= largest, jnp.maximum(scores, 0), largest)


def shares_of(scores: jax.Array, uniform_mix: float) -> jax.Array:
    """Positive numbers that add up to 1: the share of each row in the scores, mixed with uniform."""
    if not 0 <= uniform_mix <= 1:
        raise ValueError(f"uniform_mix must be in [0, 1], got {uniform_mix!r}")
    n = scores.shape[0]
    total = jnp.sum(scores)
    shares = jnp.where(total > 0, scores / jnp.where(total > 0, total, 1), 1 / n)
    return jnp.maximum((1 - uniform_mix) * shares + uniform_mix / n, _SMALLEST_SHARE)
