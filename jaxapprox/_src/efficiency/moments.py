"""Signal, noise and bias of sampled gradients, from inner products of the gradients of batches."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxapprox._src.efficiency.jackknife import Estimate, estimate, totals

_TOLD = 2.0  # standard errors from which a signal can be told from 0


class Products(NamedTuple):
    """Inner products of gradients at one batch size, of a layer or of several together: they add up.

    The batches are in R groups. g is a batch's exact gradient, d_1 and d_2 what the gradients sampled by two keys are
    off by, d their mean; G_i and D_i are the sums of g and d over a group.

    Attributes:
        exact, mixed, off: `(R, R)`, float32 on the device and float64 in NumPy, G_i G_j, G_i D_j and D_i D_j.
        own_exact, own_mixed, own_off: `(R,)`, sums over a group's batches of g g, g d and d_1 d_2.
        own_keys: `(R,)`, the same of |d_1 - d_2|^2 / 2.
    """

    exact: Any
    mixed: Any
    off: Any
    own_exact: Any
    own_mixed: Any
    own_off: Any
    own_keys: Any


class Statistics(NamedTuple):
    """Signal, noise and bias, each `(R + 1,)`: of all groups, then without each of them.

    Attributes:
        signal: |G|^2.
        variance: tr Sigma, the variance of a single example's gradient.
        across: G (m - G), with m the mean of the sampled gradients.
        squared_bias: |m - G|^2.
        shrinking: the variance that sampling adds at a batch of one example, and which shrinks with the batch.
        shared: the variance that it adds at any size.
    """

    signal: np.ndarray
    variance: np.ndarray
    across: np.ndarray
    squared_bias: np.ndarray
    shrinking: np.ndarray
    shared: np.ndarray


@dataclasses.dataclass(frozen=True)
class Moments:
    r"""What was estimated of the gradients of a layer, or of all.

    Exact gradients of batches of B examples have the mean G and the variance \tr \Sigma / B; sampled ones the mean m
    and the variance (1 + a) \tr \Sigma / B + c |G|^2. Estimates without bias may come out slightly negative.

    Attributes:
        signal: |G|^2.
        variance: \tr \Sigma.
        noise_scale: N = \tr \Sigma / |G|^2, the batch size at which noise and signal are equal.
        noise_scale_above: what N is above, by two standard errors of the signal.
        a: the variance that sampling adds and that shrinks with the batch, relative to \tr \Sigma.
        c: the variance that does not, since a batch shares its draw, relative to |G|^2.
        bias: |m - G|^2 / |G|^2.
        cosine: of the angle between m and G.
    """

    signal: Estimate
    variance: Estimate
    noise_scale: Estimate
    noise_scale_above: float
    a: Estimate
    c: Estimate
    bias: Estimate
    cosine: Estimate

    @property
    def is_told(self) -> bool:
        """Whether the signal can be told from 0; if not, N may be anything above `noise_scale_above`."""
        return self.signal.value > _TOLD * self.signal.error

    @property
    def cells(self) -> tuple[str, ...]:
        """N, a, c, bias and cosine as text."""
        if not self.is_told:
            return f"above {self.noise_scale_above:.3g}", str(self.a), "-", "-", "-"
        return tuple(map(str, (self.noise_scale, self.a, self.c, self.bias, self.cosine)))


def added(products: Sequence[Products]) -> Products:
    """The products of several layers together."""
    return Products(*(np.sum(parts, axis=0) for parts in zip(*products, strict=True)))


def statistics(small: Products, large: Products, batches: int, size: int) -> Statistics:
    """What products at two batch sizes say, from groups of so many batches of the smaller `size`, and one larger."""
    first, second = _at_size(small, batches), _at_size(large, 1)
    with np.errstate(invalid="ignore"):  # of parameters without a gradient
        a = (first.extra - second.extra) / (first.variance - second.variance)
    shared = second.extra - a * second.variance
    variance = first.variance * size
    return Statistics(second.signal, variance, second.across, second.squared_bias, a * variance, shared)


def moments(statistics: Statistics) -> Moments:
    """The statistics as estimates with their errors."""
    signal, variance, across, squared_bias, shrinking, shared = statistics
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (signal + across) / np.sqrt(signal * (signal + 2 * across + squared_bias))
        ratios = [variance / signal, shrinking / variance, shared / signal, squared_bias / signal, cosine]
    noise_scale, a, c, bias, cosine = map(estimate, ratios)
    known = estimate(signal)
    above = max(known.value, 0) + _TOLD * known.error
    least = float(variance[0]) / above if above > 0 else float("inf")
    return Moments(known, estimate(variance), noise_scale, least, a, c, bias, cosine)


class _AtSize(NamedTuple):
    signal: np.ndarray
    variance: np.ndarray
    across: np.ndarray
    squared_bias: np.ndarray
    extra: np.ndarray  # the variance that sampling adds


def _at_size(products: Products, batches: int) -> _AtSize:
    """Means over batches, and over pairs of different ones, of groups of so many batches."""
    groups = len(products.exact)
    count = batches * np.concatenate([[groups], np.full(groups, groups - 1)])
    pairs = count * (count - 1.0)
    own_exact, own_mixed, own_off, own_keys = (totals(own) for own in products[3:])
    signal = (totals(products.exact) - own_exact) / pairs
    across = (totals(products.mixed) - own_mixed) / pairs
    squared_bias = (totals(products.off) - own_off - own_keys / 2) / pairs
    variance = own_exact / count - signal
    extra = own_keys / count + 2 * (own_mixed / count - across) + own_off / count - squared_bias
    return _AtSize(signal, variance, across, squared_bias, extra)
