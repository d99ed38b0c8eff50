r"""How the error of an estimated forward pass compounds with depth, in the limit of wide layers.

Take a ReLU network with independent kernels of standard deviation sqrt(2 / fan_in), and the same network with every
product estimated. In a wide layer a unit's pre-activation z and its estimate z^ are jointly Gaussian, so three moments
say all: q = E z^2, q^ = E z^^2 and c = E z z^. With h = relu(z) and h^ the estimated activation, the next layer has

    q' = 2 E h^2,   q^' = 2 E (W h^)^2,   c' = 2 E h W h^,

where W is the random weight of an activation in the estimated product. Given z^, z is Gaussian too, so that every
expectation is an integral over s = z^ / sqrt(q^) alone. The error of a layer is sqrt(E (h^ - h)^2 / E h^2).

Sampled products (MC): inputs are kept by their scores |h^_i| |w_i|, and the |w_i| of a wide layer are equal. `topk` has
W = 1 for the largest; an unbiased sampler has E W = 1 and E W^2 = 1 / pi. That samples are of a fixed size plays no
part: weights of different inputs are correlated then, but multiply independent entries of the kernel.

Active units (hashing, the oracle, random ones): the product is exact, and h^ = M relu(z^) with M = 1 with a probability
that depends on s, else 0; then W = 1.

References:
    Poole et al., Exponential Expressivity in Deep Neural Networks through Transient Chaos, NeurIPS 2016 (moments of
    pairs by depth).
    Blom, Statistical Estimates and Transformed Beta-Variables, 1958 (the expected largest of n normal variables).
"""

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

# The paper's setting of ALSH, which are the defaults of `jaxapprox.lsh.build`.
TABLES, BITS, MAX_NORM, POWERS = 5, 6, 0.83, 3
UNIFORM_MIX = 0.1  # of the samplers of `jaxapprox` (`systematic`, `bernoulli`)

_S = np.linspace(-12, 12, 9_601)
_MASS = np.exp(-np.square(_S) / 2) / np.sum(np.exp(-np.square(_S) / 2))  # of the standard normal distribution
_HASH_DRAWS = 4_000
_HASH_S = np.linspace(-8, 8, 33)  # coarse: the chance to be found is smooth in s


class Weight(NamedTuple):
    """The first two moments of the random weight of an activation, `(points,)` each; a weight of 1 changes nothing."""

    mean: NDArray[np.float64]
    square: NDArray[np.float64]


class Prediction(NamedTuple):
    """The relative error, the cosine of h and h^, and the ratio |h^| / |h|, after each layer."""

    error: list[float]
    cosine: list[float]
    size: list[float]


class Rule(Protocol):
    """Which inputs or units are kept, and at which weight."""

    def __call__(self, scores: NDArray[np.float64], /) -> Weight:
        """The weights of those that have the scores `(points,)`, at the points of the grid."""
        ...


def predict(rule: Rule, layers: int, *, of_outputs: bool) -> Prediction:
    """Carries the moments through `layers` layers, from standard normal inputs.

    Args:
        rule: weights of the products' inputs by their absolute values, or of a layer's units by s.
        layers: hidden layers.
        of_outputs: whether `rule` is about units: active ones are kept, the others 0.

    Returns:
        `layers` numbers of each kind.
    """
    everything = _certain(np.ones_like(_S))
    h_hat = np.maximum(_S, 0)
    own = rule(_S) if of_outputs else everything
    used = own if of_outputs else rule(h_hat)
    first = everything if of_outputs else rule(np.abs(_S))
    # The moments relative to the exact network's: q = 1, q^ and c = sqrt(q^) cosine.
    q_hat = _mean(_S**2 * first.square)
    cosine = _mean(_S**2 * first.mean) / math.sqrt(q_hat)
    result = Prediction([], [], [])
    for _ in range(layers):
        h = _conditional_relu(cosine)
        # Twice a mean, as 2 E relu(z)^2 = 1 for a z of variance 1.
        growth = math.sqrt(2 * _mean(h_hat**2 * own.square))
        alike, size = 2 * _mean(h * h_hat * own.mean) / growth, math.sqrt(q_hat) * growth
        result.error.append(math.sqrt(max(0.0, 1 - 2 * alike * size + size * size)))
        result.cosine.append(alike)
        result.size.append(size)
        next_q_hat = 2 * _mean(h_hat**2 * used.square)
        cosine = 2 * _mean(h * h_hat * used.mean) / math.sqrt(next_q_hat)
        q_hat *= next_q_hat
    return result


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.sum(_MASS * values))


def _conditional_relu(cosine: float) -> NDArray[np.float64]:
    """E[relu(z) | z^] where z and z^ = s have variance 1."""
    mean, deviation = cosine * _S, math.sqrt(max(1 - cosine**2, 1e-30))
    density = np.exp(-np.square(mean / deviation) / 2) / math.sqrt(2 * math.pi)
    return mean * special.ndtr(mean / deviation) + deviation * density


def _certain(mean: NDArray[np.float64]) -> Weight:
    """A weight of 1 with probability `mean`, else 0."""
    return Weight(mean, mean)


def keep_largest(share: float) -> Rule:
    """Keeps the `share` with the largest scores at weight 1, and of those at the threshold as many as are missing."""

    def rule(scores):
        order = np.argsort(-scores, kind="stable")
        larger = np.cumsum(_MASS[order]) - _MASS[order]
        kept = np.empty_like(scores)
        kept[order] = np.clip((share - larger) / _MASS[order], 0, 1)
        return _certain(kept)

    return rule


def keep_random(share: float) -> Rule:
    """Keeps a random `share`, whatever the scores."""
    return lambda scores: _certain(np.full_like(scores, share))


def keep_unbiased(share: float) -> Rule:
    """Samples a `share` with pi = min(1, lambda s~), as the unbiased samplers do, at weights 1 / pi."""

    def rule(scores):
        if share == 1:
            return _certain(np.ones_like(scores))
        mixed = (1 - UNIFORM_MIX) * scores / _mean(scores) + UNIFORM_MIX
        low, high = 0.0, 1 / UNIFORM_MIX  # at which everything is kept
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _mean(np.minimum(1, middle * mixed)) < share else (low, middle)
        return Weight(np.ones_like(scores), 1 / np.minimum(1, high * mixed))

    return rule


def keep_hashed(share: float, width: int) -> Rule:
    r"""Keeps the `share` that ALSH's "union" finds: the tables' buckets in order, as far as needed, then random units.

    In a layer of finite width n: the cosine of x and w is s / sqrt(n), which is all that hashing can tell units by.
    For a projection r, ±1 in each entry, u = x . r / |x| is standard normal, and so is w . r / |w|, with mean
    u s / sqrt(n). What the transform appends shifts a bit of all units alike, so that a bucket holds many of them or
    few; chances are therefore computed given u and the projections' tail, and then averaged over 4,000 draws.

    Approximated: bucket sizes are their means given the hash functions; all |w| are equal, but for the longest, by
    which they are scaled and which is the expected largest of n; a subsampled bucket is a random part of it.
    """
    rng = np.random.default_rng(0)
    u = np.clip(rng.normal(size=(_HASH_DRAWS, TABLES, BITS)) / np.sqrt(width), -0.99, 0.99)
    tail = rng.choice([-1.0, 1.0], (_HASH_DRAWS, TABLES, BITS, POWERS))
    # The |w| are about normal, with a deviation of |w| / sqrt(2 n); the largest by Blom's approximation.
    norm = MAX_NORM / (1 + special.ndtri((width - 0.375) / (width + 0.25)) / math.sqrt(2 * width))
    offset = tail @ norm ** (2.0 ** np.arange(1, POWERS + 1)) / norm
    query = u * math.sqrt(width) + tail.sum(-1) / 2 >= 0
    mass = np.exp(-np.square(_HASH_S) / 2)
    mass /= mass.sum()
    found = np.zeros((_HASH_DRAWS, len(_HASH_S)))
    unfound = np.ones_like(found)
    for table in range(TABLES):
        own = u[:, table, :, None]
        positive = special.ndtr((offset[:, table, :, None] + own * _HASH_S) / np.sqrt(1 - own**2))
        meets = np.prod(np.where(query[:, table, :, None], positive, 1 - positive), 1)
        found += _part(share - found @ mass, (unfound * meets) @ mass) * unfound * meets
        unfound *= 1 - meets
    found += _part(share - found @ mass, unfound @ mass) * unfound
    chance = np.mean(found, 0)
    return lambda s: _certain(np.asarray(np.interp(s, _HASH_S, chance)))


def _part(wanted: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part, at most all, of what is `there` that makes what is `wanted`: `(draws,)` each, to `(draws, 1)`."""
    return np.clip(wanted / np.maximum(there, 1e-300), 0, 1)[:, None]
