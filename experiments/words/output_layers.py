"""How the output layer of `experiments.words` is trained: on all words, or on candidates."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxapprox import lsh
from jaxapprox.active_rows import to_blocks
from jaxapprox.blocks import EVERYTHING, Block
from jaxapprox.softmax import (
    Proposal,
    cross_entropy,
    draw,
    hits,
    sampled_rows,
    with_hits,
)

Blocks = dict[str, Block]
PullBack = Callable[[jax.Array], tuple[jax.Array, Blocks]]
"""From the gradient in the losses `(batch,)` to that in hidden, and blocks of those in "weights" and "bias"."""


class TrainOutput(Protocol):
    """The losses of a batch `(batch,)`, their pull-back, and what the layer carries to the next step."""

    def __call__(
        self, key: jax.Array, step: jax.Array, params: Any, tables: Any, hidden: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, PullBack, Any]: ...


class MakeTables(Protocol):
    """Makes what else the layer carries, from its parameters."""

    def __call__(self, key: jax.Array, params: Any) -> Any: ...


class Refresh(Protocol):
    """Makes the tables anew, at the beginning of a round of steps."""

    def __call__(self, tables: Any, params: Any) -> Any: ...


class LookUp(Protocol):
    """What the tables find for each example: `(batch, n)` ids of words."""

    def __call__(self, key: jax.Array, tables: Any, params: Any, hidden: jax.Array) -> jax.Array: ...


@dataclasses.dataclass(frozen=True)
class OutputLayer:
    """How the output layer is trained.

    Attributes:
        train: on a batch; params are "weights" `(words, features)` and "bias" `(words,)`.
        tables: what else the layer carries; None for nothing.
        refresh: None for tables that stay as they are.
        look_up: through the hash; None if nothing is hashed.
    """

    train: TrainOutput
    tables: MakeTables | None = None
    refresh: Refresh | None = None
    look_up: LookUp | None = None


class MakeOutputLayer(Protocol):
    """Makes an output layer for a vocabulary, of these frequencies `(words,)` in training."""

    def __call__(self, frequencies: np.ndarray) -> OutputLayer: ...


def exact() -> OutputLayer:
    """All words, in blocks; the gradient is as large as the weights."""

    def train(key, step, params, tables, hidden, labels):
        def losses(hidden, params):
            return cross_entropy(hidden, params["weights"], params["bias"], labels)

        loss, pull = jax.vjp(losses, hidden, params)

        def pull_back(g):
            dhidden, gradient = pull(g)
            return dhidden, {name: Block(EVERYTHING, values) for name, values in gradient.items()}

        return loss, pull_back, tables

    return OutputLayer(train)


def sampled(proposal: Proposal, *, correct_labels: bool) -> OutputLayer:
    """Candidates that the batch shares."""

    def train(key, step, params, tables, hidden, labels):
        candidates = draw(key, proposal, labels)
        return *_by_rows(params, hidden, labels, candidates, correct_labels), tables

    return OutputLayer(train)


def hashed(
    proposal: Proposal,
    words: int,
    *,
    num_tables: int,
    num_bits: int,
    per_bucket: int,
    queries: int,
    keep: int,
    rehashes: bool,
) -> OutputLayer:
    """Words that are likely to have high scores, and other candidates, which the batch shares.

    Args:
        proposal: of the other candidates.
        words: of the vocabulary.
        num_tables, num_bits: of the hash.
        per_bucket: words of a bucket, at most.
        queries: examples of a batch that are looked up.
        keep: steps for which what was found is kept.
        rehashes: whether the tables are made anew as the weights move.
    """

    def tables(key, params):
        weights, bias = params["weights"], params["bias"]
        built = lsh.build(key, weights, bias=bias, num_tables=num_tables, num_bits=num_bits, transform="simple")
        return {"hash": built, "found": jnp.full(queries * num_tables * per_bucket, words, jnp.int32)}

    def train(key, step, params, tables, hidden, labels):
        hash_key, draw_key = jax.random.split(key)

        def find():
            return hits(hash_key, tables["hash"], hidden[:queries], per_bucket=per_bucket)

        found = find() if keep == 1 else jax.lax.cond(step % keep == 0, find, lambda: tables["found"])
        candidates = with_hits(draw(draw_key, proposal, labels), found, words)
        loss, pull_back = _by_rows(params, hidden, labels, candidates, False)
        return loss, pull_back, {**tables, "found": found}

    def refresh(tables, params):
        return {**tables, "hash": lsh.rebuild(tables["hash"], params["weights"], params["bias"])}

    def look_up(key, tables, params, hidden):
        return hits(key, tables["hash"], hidden, per_bucket=per_bucket, per_example=True)

    return OutputLayer(train, tables, refresh if rehashes else None, look_up)


def _by_rows(params, hidden, labels, candidates, correct_labels):
    weights, bias = params["weights"], params["bias"]
    loss, pull = sampled_rows(hidden, weights, bias, labels, candidates, correct_labels=correct_labels)

    def pull_back(g):
        dhidden, gradients = pull(g)
        return dhidden, to_blocks(gradients, weights.shape[0])

    return loss, pull_back
