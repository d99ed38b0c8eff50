r"""Column-row sampling: which rows of a contraction to keep, and how to weigh them.

A contraction is a sum over n rows, y = \sum_i a_i \otimes b_i. A sample keeps at most `slots` of them and estimates

    \hat y = \sum_j weights[j] * a_{indices[j]} \otimes b_{indices[j]},

with scores s_i = |a_i| |b_i| saying how much each row matters. Except for `topk`, the estimate is unbiased whatever the
scores. Every sampler has static shapes, so it works under `jit`, `vmap` over keys and `scan`.

What theory says of a sampler's weights stands beside it, by `with_second_moments`: exactly, but for `systematic`.

References:
    Adelman et al., Faster Neural Network Training with Approximate Tensor Operations, NeurIPS 2021.
    Drineas, Kannan, Mahoney, Fast Monte Carlo Algorithms for Matrices I, SIAM J. Comput. 2006 (`importance`).
    Hartley, Rao, Sampling with Unequal Probabilities and without Replacement, Ann. Math. Stat. 1962 (`systematic`).
    Hajek, Asymptotic Theory of Rejective Sampling, Ann. Math. Stat. 1964 (its second moments).
"""

import math
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.ordered import cummax, searchsorted
from jaxapprox._src.sampling.scores import inclusion_probabilities, one_program, shares_of
from jaxapprox._src.sampling.second_moments import Moments, with_second_moments

_BERNOULLI_OVERFLOW = 1e-6


class Sample(NamedTuple):
    """The rows kept: `indices` (slots,) int32, `weights` (slots,) float32 or wider. An unused slot has weight 0."""

    indices: jax.Array
    weights: jax.Array


class Sampler(Protocol):
    """Draws about `num_samples` of the rows that `scores` describes.

    Any function with this signature is a sampler, if it works under `jit` (shapes may depend on n and `num_samples`
    alone). It may draw a row more than once, and may leave slots unused. With
    `jaxapprox.SAMPLERS.register(name, sampler)` it has a name as well. `predicted_variance` and `advise` work for
    samplers that state their second moments, by `jaxapprox.with_second_moments`.

    Args:
        key: a PRNG key.
        scores: `(n,)` finite and non-negative, float32 or wider.
        num_samples: k, a Python int in [1, n].

    Returns:
        A `Sample`.
    """

    def __call__(self, key: jax.Array, scores: jax.Array, num_samples: int) -> Sample: ...


@one_program
def _topk_moments(scores: jax.Array, num_samples: int) -> Moments:
    dropped = jnp.ones_like(scores).at[lax.top_k(scores, num_samples)[1]].set(0)
    return Moments(jnp.zeros_like(scores), dropped, sign=1)


@with_second_moments(_topk_moments)
@one_program
def topk(key: jax.Array, scores: jax.Array, num_samples: int) -> Sample:
    """The rows with the `num_samples` largest scores, at weight 1. Deterministic (`key` is not used) and biased.

    Args:
        key: accepted so that all samplers have one signature.
        scores: `(n,)` non-negative; a negative one counts as zero, a NaN or infinite one as the largest.
        num_samples: k, a Python int in [1, n].

    Returns:
        A `Sample` of k slots, all used.

    Raises:
        ValueError: if the shape of `scores` or `num_samples` is not as above.
    """
    del key
    return Sample(lax.top_k(scores, num_samples)[1], jnp.ones(num_samples, scores.dtype))


@one_program
def _uniform_moments(scores: jax.Array, num_samples: int) -> Moments:
    n, k = scores.shape[0], num_samples
    apart = (n - k) / (k * max(1, n - 1))  # how much less two rows are kept together than each by itself
    return Moments(jnp.full_like(scores, n / k - 1 + apart), jnp.full_like(scores, math.sqrt(apart)), sign=-1)


@with_second_moments(_uniform_moments)
@one_program
def uniform(key: jax.Array, scores: jax.Array, num_samples: int) -> Sample:
    """`num_samples` rows drawn without replacement, all subsets equally likely; weight n / k. Scores are not used.

    Args:
        key: a PRNG key.
        scores: `(n,)` non-negative; only n matters.
        num_samples: k, a Python int in [1, n].

    Returns:
        A `Sample` of k slots, all used.

    Raises:
        ValueError: as for `topk`.
    """
    n = scores.shape[0]
    indices = lax.top_k(jax.random.uniform(key, (n,), scores.dtype), num_samples)[1]
    return Sample(indices, jnp.full(num_samples, n / num_samples, scores.dtype))


@one_program
def _importance_moments(scores: jax.Array, num_samples: int) -> Moments:
    # With one draw, inclusion probabilities are draw probabilities.
    diagonal = 1 / (num_samples * inclusion_probabilities(scores, 1))
    return Moments(diagonal, jnp.full_like(scores, 1 / math.sqrt(num_samples)), sign=-1)


@with_second_moments(_importance_moments)
@one_program
def importance(key: jax.Array, scores: jax.Array, num_samples: int, *, uniform_mix: float = 0.1) -> Sample:
    """`num_samples` draws with replacement, p proportional to the scores mixed with uniform; weight 1 / (k p).

    A row drawn twice fills two slots.

    Args:
        key: a PRNG key.
        scores: `(n,)` non-negative; a negative one counts as zero, a NaN or infinite one as the largest.
        num_samples: k, a Python int in [1, n].
        uniform_mix: share of the uniform distribution in p, in [0, 1].

    Returns:
        A `Sample` of k slots, all used.

    Raises:
        ValueError: if the shape of `scores` or another argument is not as above.
    """
    shares = shares_of(scores, uniform_mix)
    total = jnp.cumsum(shares)
    u = jax.random.uniform(key, (num_samples,), shares.dtype) * total[-1]
    indices = searchsorted(total, u, "right").clip(max=shares.shape[0] - 1).astype(jnp.int32)
    return Sample(indices, 1 / (num_samples * shares[indices]))


@one_program
def _bernoulli_moments(scores: jax.Array, num_samples: int) -> Moments:
    return Moments(1 / inclusion_probabilities(scores, num_samples) - 1, jnp.zeros_like(scores), sign=-1)


@with_second_moments(_bernoulli_moments)
@one_program
def bernoulli(key: jax.Array, scores: jax.Array, num_samples: int, *, uniform_mix: float = 0.1) -> Sample:
    """Each row independently, with its inclusion probability pi_i; weight 1 / pi_i.

    The number of rows kept is random with mean k, so there are more slots than k: as many as are exceeded with
    probability at most 1e-6, by the binomial bound of Hoeffding (1956); work is done for every slot. In that rare event
    the last rows are dropped, a relative bias of no more than that probability.

    Args:
        key, scores, num_samples, uniform_mix: as for `importance`.

    Returns:
        A `Sample` of `bernoulli_slots(n, k)` slots, some unused.

    Raises:
        ValueError: as for `importance`.
    """
    probabilities = inclusion_probabilities(scores, num_samples, uniform_mix=uniform_mix)
    n = probabilities.shape[0]
    kept = jax.random.uniform(key, (n,), probabilities.dtype) < probabilities
    indices = jnp.nonzero(kept, size=bernoulli_slots(n, num_samples), fill_value=n)[0].astype(jnp.int32)
    used, indices = indices < n, indices.clip(max=n - 1)
    return Sample(indices, jnp.where(used, 1 / probabilities[indices], 0))


@one_program
def _systematic_moments(scores: jax.Array, num_samples: int) -> Moments:
    # The joint inclusion probabilities by the high-entropy approximation of Hajek: a few per cent off for tens of rows.
    pi = inclusion_probabilities(scores, num_samples)
    left_out = 1 - pi
    spread = jnp.sum(pi * left_out)
    together = left_out / jnp.sqrt(jnp.where(spread > 0, spread, 1))
    return Moments(1 / pi - 1 + jnp.square(together), together, sign=-1)


@with_second_moments(_systematic_moments)
@one_program
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

    Args:
        key, scores, num_samples, uniform_mix: as for `importance`.

    Returns:
        A `Sample` of k slots, all used.

    Raises:
        ValueError: as for `importance`.
    """
    probabilities = inclusion_probabilities(scores, num_samples, uniform_mix=uniform_mix)
    n, k, dtype = probabilities.shape[0], num_samples, probabilities.dtype
    order_key, offset_key = jax.random.split(key)
    # Rows kept for certain come first: their segments end on whole numbers, so rounding cannot lose one.
    order = jnp.argsort(jnp.where(probabilities >= 1, -1.0, jax.random.uniform(order_key, (n,), dtype)))
    ends = jnp.cumsum(probabilities[order])
    points = jax.random.uniform(offset_key, (), dtype) + jnp.arange(k, dtype=dtype)
    positions = searchsorted(ends, points, "right")
    # Rounding may put two points into one segment just shorter than 1: move the second to the next row.
    steps = jnp.arange(k, dtype=positions.dtype)
    positions = jnp.minimum(cummax(positions - steps) + steps, n - k + steps)
    indices = order[positions].astype(jnp.int32)
    return Sample(indices, 1 / probabilities[indices])


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
