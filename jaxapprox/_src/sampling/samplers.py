r"""Column-row sampling: which rows of a contraction to keep, and how to weigh them.

A contraction is a sum over n rows, y = \sum_i a_i \otimes b_i. A sample keeps at most `slots` of them and estimates

    \hat y = \sum_j weights[j] * a_{indices[j]} \otimes b_{indices[j]},

with scores s_i = |a_i| |b_i| saying how much each row matters. Except for `topk`, the estimate is unbiased whatever the
scores. Every sampler has static shapes, so it works under `jit`, `vmap` over keys and `scan`.

Scores are used as follows: a negative score counts as zero, a NaN or infinite one as the largest (so that the row is
kept, and shows), and all-zero scores as equal ones. Outside of tracing, negative and NaN scores are a `ValueError`.

References:
    Adelman et al., Faster Neural Network Training with Approximate Tensor Operations, NeurIPS 2021.
    Drineas, Kannan, Mahoney, Fast Monte Carlo Algorithms for Matrices I, SIAM J. Comput. 2006 (`importance`).
    Hartley, Rao, Sampling with Unequal Probabilities and without Replacement, Ann. Math. Stat. 1962 (`systematic`).
"""

import math
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_SMALLEST_SHARE = 1e-20  # keeps every inclusion probability positive when `uniform_mix` is zero
_BERNOULLI_OVERFLOW = 1e-6


class Sample(NamedTuple):
    """The rows kept: `indices` (slots,) int32, `weights` (slots,) float32 or wider. An unused slot has weight 0."""

    indices: jax.Array
    weights: jax.Array


class Sampler(Protocol):
    """Draws about `num_samples` of the rows that `scores` (n,) describes; `num_samples` is a Python int in [1, n]."""

    def __call__(self, key: jax.Array, scores: jax.Array, num_samples: int) -> Sample: ...


def topk(key: jax.Array, scores: jax.Array, num_samples: int) -> Sample:
    """The rows with the `num_samples` largest scores, at weight 1. Deterministic (`key` is not used) and biased.

    Args:
        key: accepted so that all samplers have one signature.
        scores: `(n,)` non-negative.
        num_samples: k, a Python int in [1, n].

    Returns:
        A `Sample` of k slots, all used.

    Raises:
        ValueError: if `scores` or `num_samples` is not as above.
    """
    del key
    scores = checked_scores(scores, num_samples)
    return Sample(lax.top_k(scores, num_samples)[1], jnp.ones(num_samples, scores.dtype))


def uniform(key: jax.Array, scores: jax.Array, num_samples: int) -> Sample:
    """`num_samples` rows drawn without replacement, all subsets equally likely; weight n / k. Scores are not used.

    Args, Raises: as `topk`. Returns: a `Sample` of k slots, all used.
    """
    scores = checked_scores(scores, num_samples)
    n = scores.shape[0]
    indices = lax.top_k(jax.random.uniform(key, (n,)), num_samples)[1]
    return Sample(indices, jnp.full(num_samples, n / num_samples, scores.dtype))


def importance(key: jax.Array, scores: jax.Array, num_samples: int, *, uniform_mix: float = 0.1) -> Sample:
    """`num_samples` draws with replacement, p proportional to the scores mixed with uniform; weight 1 / (k p).

    A row drawn twice fills two slots.

    Args:
        key: a PRNG key.
        scores: `(n,)` non-negative.
        num_samples: k, a Python int in [1, n].
        uniform_mix: share of the uniform distribution in p, in [0, 1].

    Returns:
        A `Sample` of k slots, all used.

    Raises:
        ValueError: if an argument is not as above.
    """
    shares = _shares(checked_scores(scores, num_samples), uniform_mix)
    total = jnp.cumsum(shares)
    u = jax.random.uniform(key, (num_samples,)) * total[-1]
    indices = jnp.searchsorted(total, u, side="right").clip(max=shares.shape[0] - 1).astype(jnp.int32)
    return Sample(indices, 1 / (num_samples * shares[indices]))


def bernoulli(key: jax.Array, scores: jax.Array, num_samples: int, *, uniform_mix: float = 0.1) -> Sample:
    """Each row independently, with its inclusion probability pi_i; weight 1 / pi_i.

    The number of rows kept is random with mean k, so there are more slots than k: as many as are exceeded with
    probability at most 1e-6, by the binomial bound of Hoeffding (1956); work is done for every slot. In that rare event
    the last rows are dropped, a relative bias of no more than that probability.

    Args, Raises: as `importance`. Returns: a `Sample` of `bernoulli_slots(n, k)` slots, some unused.
    """
    probabilities = inclusion_probabilities(scores, num_samples, uniform_mix=uniform_mix)
    n = probabilities.shape[0]
    kept = jax.random.uniform(key, (n,)) < probabilities
    indices = jnp.nonzero(kept, size=bernoulli_slots(n, num_samples), fill_value=n)[0].astype(jnp.int32)
    used, indices = indices < n, indices.clip(max=n - 1)
    return Sample(indices, jnp.where(used, 1 / probabilities[indices], 0))


def systematic(key: jax.Array, scores: jax.Array, num_samples: int, *, uniform_mix: float = 0.1) -> Sample:
    """Exactly `num_samples` distinct rows with inclusion probabilities pi_i; weight 1 / pi_i.

    Systematic sampling in random order: rows are laid end to end as segments of length pi_i, in an order drawn anew,
    and those are kept that contain one of the points u, u + 1, ..., u + k - 1 for one uniform u in [0, 1).

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox import systematic
    >>> indices, weights = systematic(jax.random.key(0), jnp.array([6.0, 1.0, 1.0]), 2, uniform_mix=0)
    >>> dict(zip(indices.tolist(), weights.tolist()))[0]  # pi_0 = 1
    1.0
    >>> sorted(weights.tolist())  # and one of the others for both
    [1.0, 2.0]

    Args, Raises: as `importance`. Returns: a `Sample` of k slots, all used.
    """
    probabilities = inclusion_probabilities(scores, num_samples, uniform_mix=uniform_mix)
    n, k = probabilities.shape[0], num_samples
    order_key, offset_key = jax.random.split(key)
    # Rows kept for certain come first: their segments end on whole numbers, so rounding cannot lose one.
    order = jnp.argsort(jnp.where(probabilities >= 1, -1.0, jax.random.uniform(order_key, (n,))))
    ends = jnp.cumsum(probabilities[order])
    points = jax.random.uniform(offset_key) + jnp.arange(k)
    positions = jnp.searchsorted(ends, points, side="right")
    # Rounding may put two points into one segment just shorter than 1: move the second to the next row.
    steps = jnp.arange(k)
    positions = jnp.minimum(lax.cummax(positions - steps) + steps, n - k + steps)
    indices = order[positions].astype(jnp.int32)
    return Sample(indices, 1 / probabilities[indices])


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
    shares = _shares(checked_scores(scores, num_samples), uniform_mix)
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


def bernoulli_slots(n: int, num_samples: int) -> int:
    """The fewest slots that a `bernoulli` sample exceeds with probability at most 1e-6.

    Of all sums of n independent indicators with mean k, the binomial has the heaviest tail (Hoeffding 1956).
    """
    if num_samples == n:
        return n
    log_odds = math.log(num_samples / n), math.log1p(-num_samples / n)
    tail, slots = 0.0, n
    while slots > num_samples:
        log_count = math.lgamma(n + 1) - math.lgamma(slots + 1) - math.lgamma(n - slots + 1)
        tail += math.exp(log_count + slots * log_odds[0] + (n - slots) * log_odds[1])
        if tail > _BERNOULLI_OVERFLOW:
            break
        slots -= 1
    return slots


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


def _shares(scores: jax.Array, uniform_mix: float) -> jax.Array:
    """Positive numbers that add up to 1: the share of each row in the scores, mixed with uniform."""
    if not 0 <= uniform_mix <= 1:
        raise ValueError(f"uniform_mix must be in [0, 1], got {uniform_mix!r}")
    n = scores.shape[0]
    total = jnp.sum(scores)
    shares = jnp.where(total > 0, scores / jnp.where(total > 0, total, 1), 1 / n)
    return jnp.maximum((1 - uniform_mix) * shares + uniform_mix / n, _SMALLEST_SHARE)
