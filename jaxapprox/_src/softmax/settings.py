"""How an output layer's loss is computed: the settings, and what follows from them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxapprox._src.checks import check_choice, check_int
from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.softmax.candidates import Proposal, draw
from jaxapprox._src.softmax.exact import cross_entropy
from jaxapprox._src.softmax.proposals import log_uniform, uniform
from jaxapprox._src.softmax.sampled import sampled_cross_entropy

_PROPOSALS = {"log_uniform": log_uniform, "uniform": uniform}


@dataclasses.dataclass(frozen=True, eq=False)
class SampledSoftmax:
    """The softmax cross-entropy of an output layer by candidates, in the place of its logits.

    >>> from jaxapprox import SampledSoftmax
    >>> rules = [("head", SampledSoftmax(size=512))]  # for `convert`

    Attributes:
        size: how many candidates stand for all classes; None for all classes, exactly and in blocks, without a draw.
        proposal: what they are drawn from: "log_uniform" (classes from the most to the least frequent), "uniform", or
            any `jaxapprox.softmax.Proposal` of the layer's classes, which says by itself how many candidates it draws.
        per_example: draw for each example anew, instead of once for the batch.
        correct_labels: correct the labels' scores too, as in `jaxapprox.softmax.sampled_cross_entropy`.
        block_size: of classes, where the loss is exact, as in `jaxapprox.softmax.cross_entropy`.

    Raises:
        ValueError: if `size` or `block_size` is no positive integer, or `proposal` is neither such a name nor an object
            with the methods of a proposal.
    """

    size: int | None = 1024
    proposal: str | Proposal = "log_uniform"
    per_example: bool = False
    correct_labels: bool = False
    block_size: int | None = None

    def __post_init__(self):
        if self.size is not None:
            check_int("size", self.size, None)
        if self.block_size is not None:
            check_int("block_size", self.block_size, None)
        if not hasattr(self.proposal, "draw"):
            check_choice("proposal", self.proposal, tuple(_PROPOSALS))

    def draws(self) -> bool:
        """Whether a loss needs a key."""
        return self.size is not None

    def loss(
        self, key: jax.Array | None, hidden: jax.Array, weights: jax.Array, bias: jax.Array | None, labels: Any
    ) -> jax.Array:
        """The loss of each example.

        Args:
            key: a PRNG key; None for the exact loss.
            hidden: `(*batch, features)`.
            weights: `(classes, features)`.
            bias: `(classes,)` or None.
            labels: `(*batch,)` or `(*batch, m)` integers, as in `jaxapprox.softmax.cross_entropy`.

        Returns:
            `(*batch,)`.

        Raises:
            ValueError: if a shape does not fit, there are fewer classes than candidates, or a label is out of range.
        """
        if not isinstance(labels, jax.Array):
            labels = np.asarray(labels)  # of known values
        batch = hidden.shape[:-1]
        if labels.shape[: len(batch)] != batch or labels.ndim > len(batch) + 1:
            raise ValueError(f"labels must have shape {batch} or {(*batch, 'm')}, as the inputs, got {labels.shape}")

        def of_examples(key, hidden, weights, bias, labels):
            x, y = hidden.reshape(-1, hidden.shape[-1]), labels.reshape(-1, *labels.shape[len(batch) :])
            if key is None or self.size is None:
                loss = cross_entropy(x, weights, bias, y, block_size=self.block_size)
            else:
                candidates = draw(key, self._proposal(weights.shape[0]), y, per_example=self.per_example)
                loss = sampled_cross_entropy(x, weights, bias, y, candidates, correct_labels=self.correct_labels)
            return loss.reshape(batch)

        return split_as(split_of(hidden, len(batch)), of_examples, key, hidden, weights, bias, labels)

    def _proposal(self, classes: int) -> Any:
        if not isinstance(self.proposal, str):
            parts = getattr(self.proposal, "proposals", (self.proposal,))
            of = {part.counts.shape[0] for part in parts if hasattr(part, "counts")} - {classes}
            if of:
                raise ValueError(f"proposal must be of the layer's {classes} classes, got one of {of.pop()}")
            return self.proposal
        return jax.tree.map(jnp.asarray, _named(self.proposal, classes, self.size))


@functools.lru_cache(maxsize=4)
def _named(name: str, classes: int, size: Any) -> Any:
    """A proposal of that name, in NumPy's arrays: made once, and no part of the program that is traced."""
    with jax.ensure_compile_time_eval():
        return jax.device_get(_PROPOSALS[name](classes, size))
