"""Candidates: the classes that stand for all in a sampled softmax, and how they are drawn."""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jaxapprox._src.checks import check_key
from jaxapprox._src.explicit_axes import split_as, split_of


class Candidates(NamedTuple):
    """Classes that stand for all classes in a sum over them.

    Attributes:
        ids: `(size,)` int32, shared by the batch, or `(batch, size)`; one past the last class is an unused slot. A
            class may be there several times.
        expected: of each, how often its class is expected among the ids; 1 for a class that is certain. It stands for
            itself 1 / expected times; one that is expected 0 times is left out.
        expected_labels: the same of the examples' labels, shaped as these; None where no label is to be corrected.
    """

    ids: jax.Array
    expected: jax.Array
    expected_labels: jax.Array | None = None


class Proposal(Protocol):
    """What candidates are drawn from: a tree of arrays, so that it is an argument of compiled programs."""

    def draw(self, key: jax.Array, labels: jax.Array, /) -> jax.Array:
        """`(size,)` int32 ids of classes, for examples with these labels `(batch, m)`, -1 for an unused slot."""
        ...

    def expected(self, ids: jax.Array, /) -> jax.Array:
        """How often each of these classes is expected in a draw: float32, shaped as the ids."""
        ...


def draw(key: jax.Array, proposal: Proposal, labels: jax.Array, *, per_example: bool = False) -> Candidates:
    """Draws candidates.

    >>> import jax
    >>> from jaxapprox.softmax import draw, log_uniform
    >>> labels = jax.numpy.array([3, 5])
    >>> candidates = draw(jax.random.key(0), log_uniform(1000, 64), labels, per_example=True)
    >>> candidates.ids.shape, candidates.expected_labels.shape
    ((2, 64), (2,))

    Args:
        key: a PRNG key.
        proposal: what to draw from.
        labels: `(batch,)` or `(batch, m)` integers, -1 for an unused slot.
        per_example: draw for each example anew, instead of once for the batch.

    Returns:
        `Candidates`, with the expected counts of the labels.

    Raises:
        ValueError: if `key` is no key.
    """
    check_key(key)
    labels = jnp.asarray(labels).astype(jnp.int32)

    def drawn(key, proposal, labels):
        columns = labels.reshape(labels.shape[0], -1)
        if per_example:
            keys = jax.random.split(key, labels.shape[0])
            ids = jax.vmap(lambda key: proposal.draw(key, columns))(keys)
        else:
            ids = proposal.draw(key, columns)
        return ids, proposal.expected(ids), proposal.expected(labels)

    split = split_of(labels)
    of_ids = split_of(labels, 1) if per_example else PartitionSpec()
    return Candidates(*split_as((of_ids, of_ids, split), drawn, key, proposal, labels))
