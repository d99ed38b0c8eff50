"""What an experiment gives to the shared training loop: the `Learner` of one network by one method."""

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax

from experiments.data.dataset import Split
from jaxapprox.diagnostics import Diagnostics


class Stream(enum.IntEnum):
    """The named streams of keys that are drawn from a seed's key, by `fold_in`."""

    ORDER = 0
    AUGMENT = 1
    SAMPLE = 2
    RECALIBRATE = 3
    EVALUATE = 4


class State(NamedTuple):
    """What training carries from step to step. `batch_stats` and hash `tables` go with the parameters."""

    params: Any
    batch_stats: Any
    tables: Any
    opt_state: Any
    key: jax.Array
    step: jax.Array


class Metrics(NamedTuple):
    """The loss of a step, or the mean of an epoch's; and each hashed layer's `Diagnostics` by its name."""

    loss: jax.Array
    diagnostics: dict[str, Diagnostics]


class Init(Protocol):
    """Makes the state at step 0; `stream_key` becomes the state's key."""

    def __call__(self, init_key: jax.Array, stream_key: jax.Array) -> State: ...


class Step(Protocol):
    """A training step on uint8 images `(batch, height, width, channels)` and int32 labels `(batch,)`."""

    def __call__(self, state: State, images: jax.Array, labels: jax.Array) -> tuple[State, Metrics]: ...


class Logits(Protocol):
    """The outputs `(batch, classes)` for uint8 images; `key` is for a network whose evaluation draws."""

    def __call__(self, state: State, batch_stats: Any, images: jax.Array, key: jax.Array) -> jax.Array: ...


class Rehash(Protocol):
    """Makes new hash tables from the parameters, which it may change as well."""

    def __call__(self, params: Any, tables: Any) -> tuple[Any, Any]: ...


class Recalibrate(Protocol):
    """Re-estimates BatchNorm's statistics by exact forwards over training images."""

    def __call__(self, state: State, train: Split) -> Any: ...


class Learner(NamedTuple):
    """The training of one network by one method.

    Attributes:
        init: makes the first state.
        step: trains on a batch.
        evaluations: ways to evaluate the network, by the column of metrics.jsonl that takes the accuracy:
            "test_accuracy" for the exact network, which is always there, and "test_accuracy_hashed" through the hash.
        rehash: what is due at the beginning of each round of steps; None for nothing.
        recalibrate: before the evaluation; None where the statistics fit the exact network.
    """

    init: Init
    step: Step
    evaluations: Mapping[str, Logits]
    rehash: Rehash | None = None
    recalibrate: Recalibrate | None = None


def stream(state: State, name: Stream, index: jax.Array) -> jax.Array:
    """Key number `index` of the stream `name`; the same for every method of a seed."""
    return jax.random.fold_in(jax.random.fold_in(state.key, name), index)
