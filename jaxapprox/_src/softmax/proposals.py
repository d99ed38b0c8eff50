"""What candidates are drawn from: given frequencies, the batch's own labels, and mixtures."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxapprox._src.checks import check_int
from jaxapprox._src.ordered import searchsorted
from jaxapprox._src.softmax.candidates import Proposal


class Stratified(NamedTuple):
    """Draws one class from each of `size` ranges of equal expected counts; see `by_frequency`.

    Attributes:
        bounds: `(classes,)` uint32, where the share of each place ends; a range is 2^bits of them.
        order: `(classes,)` int32, the class at each place, those that are always drawn first; None for the classes' own
            order.
        counts: `(classes,)` float32, the expected counts.
        ranges: `(size,)` uint32, where each range begins.
    """

    bounds: jax.Array
    order: jax.Array | None
    counts: jax.Array
    ranges: jax.Array

    def draw(self, key: jax.Array, labels: jax.Array) -> jax.Array:
        """A class from each range, in proportion to its share of it; the labels have no part in it."""
        size = self.ranges.shape[0]
        within = jax.random.bits(key, (size,), jnp.uint32) >> np.uint32(32 - _range_bits(size))
        places = searchsorted(self.bounds, self.ranges + within, "right").astype(jnp.int32)
        return places if self.order is None else self.order[places]

    def expected(self, ids: jax.Array) -> jax.Array:
        """The expected counts; 1 for ids out of range."""
        return _counts_of(self.counts, ids)


class InBatch(NamedTuple):
    """The batch's own labels as candidates; see `in_batch`.

    Attributes:
        counts: `(classes,)` float32, the expected counts.
    """

    counts: jax.Array

    def draw(self, key: jax.Array, labels: jax.Array) -> jax.Array:
        """All labels of the batch; the key has no part in it."""
        return jnp.where(labels >= 0, labels, self.counts.shape[0]).reshape(-1)

    def expected(self, ids: jax.Array) -> jax.Array:
        """The expected counts; 1 for ids out of range."""
        return _counts_of(self.counts, ids)


class Mixture(NamedTuple):
    """The candidates of several proposals together; see `mixture`.

    Attributes:
        proposals: the parts.
    """

    proposals: tuple[Any, ...]

    def draw(self, key: jax.Array, labels: jax.Array) -> jax.Array:
        """The candidates of the parts, one after another."""
        keys = jax.random.split(key, len(self.proposals))
        return jnp.concatenate([part.draw(own, labels) for own, part in zip(keys, self.proposals, strict=True)])

    def expected(self, ids: jax.Array) -> jax.Array:
        """The sums of the parts' expected counts."""
        return sum((part.expected(ids) for part in self.proposals), jnp.zeros(ids.shape))


def uniform(classes: int, size: int) -> Stratified:
    """Candidates of which each class is as likely.

    >>> import jax
    >>> from jaxapprox.softmax import draw, uniform
    >>> proposal = uniform(classes=100_000, size=1000)
    >>> candidates = draw(jax.random.key(0), proposal, labels=jax.numpy.array([3, 5]))
    >>> print(candidates.ids.shape, candidates.expected[0].round(6))
    (1000,) 0.01

    Args:
        classes: how many there are.
        size: candidates in a draw, at most as many; with all of them a draw holds each class once.

    Raises:
        ValueError: if an argument is not as above.
    """
    check_int("classes", classes, None)
    return by_frequency(np.ones(classes), size)


def log_uniform(classes: int, size: int) -> Stratified:
    """Candidates by Zipf's law, for classes that are sorted from the most to the least frequent.

    The expected counts are as log((c + 2) / (c + 1)), and at most 1.

    >>> import jax
    >>> from jaxapprox.softmax import log_uniform
    >>> proposal = log_uniform(classes=100_000, size=1000)
    >>> print(proposal.expected(jax.numpy.array([0, 1000, 10_000])).round(4))
    [1.     0.1309 0.0131]

    Args:
        classes, size: as for `uniform`.

    Raises:
        ValueError: if an argument is not as for `uniform`.
    """
    check_int("classes", classes, None)
    return by_frequency(np.log1p(1 / (1 + np.arange(classes, dtype=np.float64))), size)


def by_frequency(frequencies: Any, size: int, *, power: float = 1.0) -> Stratified:
    """Candidates by given frequencies: one from each of `size` ranges of equal expected counts.

    The expected count of a class is min(1, lambda f^power), lambda such that they sum to `size`; it is rounded to
    what the draw's whole numbers can be, and given as it then is. A class whose count is 1 is in every draw once;
    others may be there twice. So a draw of as many candidates as classes holds each class once.

    >>> import jax
    >>> from jaxapprox.softmax import by_frequency
    >>> print(by_frequency([5, 1, 1, 1], 2).expected(jax.numpy.arange(4)).round(3))
    [1.    0.333 0.333 0.333]

    Args:
        frequencies: `(classes,)` on the host, whose sum need not be 1. A class of 0 is never a candidate, and left
            out of the sum over classes.
        size: candidates in a draw, at most as many as there are classes of a frequency above 0.
        power: 3/4 is that of word2vec, 0 makes all the same.

    Raises:
        ValueError: if a frequency is negative or NaN or none is above 0, or another argument is not as above.
    """
    frequencies = _checked(frequencies)
    check_int("size", size, int(np.count_nonzero(frequencies)))
    if not isinstance(power, int | float | np.number) or not 0 <= power < np.inf:
        raise ValueError(f"power must be a number from 0, got {power!r}")
    weights = np.where(frequencies > 0, (frequencies / frequencies.max()) ** power, 0)
    order = np.argsort(-weights, kind="stable")
    weights, unit = weights[order], 2 ** _range_bits(size)
    # A unit to every class that can be drawn, and the rest of the units in proportion.
    can_be = (frequencies > 0)[order]
    rest = _capped(np.where(can_be, weights, 0), size * unit - np.count_nonzero(can_be), unit - 1)
    bounds = np.rint(np.cumsum(rest)).astype(np.int64) + np.cumsum(can_be)
    counts = np.empty(len(order))
    counts[order] = np.diff(bounds, prepend=0) / unit
    is_sorted = (order == np.arange(len(order))).all()
    return Stratified(
        jnp.asarray(bounds.astype(np.uint32)),
        None if is_sorted else jnp.asarray(order, jnp.int32),
        jnp.asarray(counts, jnp.float32),
        jnp.asarray((np.arange(size) * unit).astype(np.uint32)),
    )


def in_batch(frequencies: Any, labels: int) -> InBatch:
    """The batch's own labels as candidates: at no cost, as their rows of the weights are read anyway.

    They are right on average if the labels are drawn independently by these frequencies. They are for classes that are
    on one device: a device's part of them has other rows.

    >>> import jax
    >>> from jaxapprox.softmax import in_batch
    >>> print(in_batch([5, 1, 1, 1], labels=9).expected(jax.numpy.arange(4)))  # of 8 other labels
    [5. 1. 1. 1.]

    Args:
        frequencies: `(classes,)` on the host, of the labels; their sum need not be 1.
        labels: how many labels a batch has.

    Raises:
        ValueError: if a frequency is negative or NaN or none is above 0, or `labels` is no positive integer.
    """
    frequencies = _checked(frequencies)
    check_int("labels", labels, None)
    return InBatch(jnp.asarray((labels - 1) * frequencies / frequencies.sum(), jnp.float32))


def mixture(*proposals: Proposal) -> Mixture:
    """The candidates of several proposals together, each weighed by what all of them expect (the balance heuristic).

    >>> import jax
    >>> from jaxapprox.softmax import draw, log_uniform, mixture, uniform
    >>> proposal = mixture(log_uniform(1000, 64), uniform(1000, 64))
    >>> draw(jax.random.key(0), proposal, labels=jax.numpy.array([3, 5])).ids.shape
    (128,)

    Args:
        *proposals: of the same classes, one or more.

    Raises:
        ValueError: if there is none.

    References:
        Veach, Guibas, Optimally Combining Sampling Techniques for Monte Carlo Rendering, SIGGRAPH 1995.
    """
    if not proposals:
        raise ValueError("proposals must be one or more, got none")
    return Mixture(proposals)


def _checked(frequencies: Any) -> np.ndarray:
    """Frequencies as float64."""
    if isinstance(frequencies, jax.core.Tracer):
        raise ValueError("frequencies must be known outside of jit: make the proposal there, and pass it in")
    frequencies = np.asarray(frequencies, np.float64)
    if frequencies.ndim != 1 or not frequencies.size:
        raise ValueError(f"frequencies must have shape (classes,), got {frequencies.shape}")
    wrong = frequencies[~((frequencies >= 0) & (frequencies < np.inf))]
    if wrong.size:
        raise ValueError(f"frequencies must be numbers from 0, got {wrong[0]}")
    if not frequencies.any():
        raise ValueError("frequencies must have one above 0, got zeros alone")
    return frequencies


def _capped(weights: np.ndarray, total: float, most: float) -> np.ndarray:
    """min(most, lambda w), lambda such that the sum is `total`."""
    is_capped = np.zeros(len(weights), bool)
    while True:
        rest, free = total - most * np.count_nonzero(is_capped), np.where(is_capped, 0, weights)
        if rest <= 0 or not free.any():
            return np.where(is_capped, most, 0.0)
        values = free * (rest / free.sum())
        if not (values > most).any():
            return np.where(is_capped, most, values)
        is_capped |= values > most


def _range_bits(size: int) -> int:
    """The most bits b for which `size` ranges of 2^b units fit into 32 bits."""
    return ((2**32 - 1) // size).bit_length() - 1


def _counts_of(counts: jax.Array, ids: jax.Array) -> jax.Array:
    is_class = (ids >= 0) & (ids < counts.shape[0])
    return jnp.where(is_class, counts.at[ids].get(mode="clip"), 1)
