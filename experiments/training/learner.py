"""What an experiment gives to the shared training loop: the `Learner` of one network by one method."""

import enum
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np


class Stream(enum.IntEnum):
    """The named streams of keys that are drawn from a seed's key, by `fold_in`."""

    ORDER = 0
    AUGMENT = 1
    SAMPLE = 2
    RECALIBRATE = 3
    EVALUATE = 4


class State(NamedTuple):
    """What training carries from step to step. `batch_stats` and `tables` go with the parameters: hash tables, or what
    else a method keeps."""

    params: Any
    batch_stats: Any
    tables: Any
    opt_state: Any
    key: jax.Array
    step: jax.Array


class Metrics(NamedTuple):
    """The loss of a step, or the mean of an epoch's; and diagnostics by a layer's name: a named tuple of numbers each,
    of a hashed one `jaxapprox.diagnostics.Diagnostics`."""

    loss: jax.Array
    diagnostics: dict[str, Any]


class Init(Protocol):
    """Makes the state at step 0; `stream_key` becomes the state's key."""

    def __call__(self, init_key: jax.Array, stream_key: jax.Array) -> State: ...


class Step(Protocol):
    """A training step on a batch of examples and int32 labels `(batch,)`."""

    def __call__(self, state: State, examples: Any, labels: jax.Array, /) -> tuple[State, Metrics]: ...


class TakeBatch(Protocol):
    """The examples and labels for step `i` of an epoch."""

    def __call__(self, i: jax.Array) -> tuple[Any, jax.Array]: ...


class Batches(Protocol):
    """Makes the batches of an epoch, whose first step in the run is `first`, from the training data."""

    def __call__(self, state: State, train: Any, first: jax.Array) -> TakeBatch: ...


class Feed(NamedTuple):
    """What a learner is trained on, and when it is evaluated.

    Attributes:
        steps: `(epochs,)`, steps of each epoch: of a stretch of training that ends in an evaluation.
        batches: makes those of an epoch.
    """

    steps: np.ndarray
    batches: Batches


class Evaluate(Protocol):
    """Columns of metrics.jsonl for the test data: a number each, by the column's name."""

    def __call__(self, state: State, batch_stats: Any, test: Any) -> dict[str, jax.Array]: ...


class Rehash(Protocol):
    """Makes new hash tables from the parameters, which it may change as well."""

    def __call__(self, params: Any, tables: Any) -> tuple[Any, Any]: ...


class Recalibrate(Protocol):
    """Re-estimates BatchNorm's statistics by exact forwards over training images."""

    def __call__(self, state: State, train: Any) -> Any: ...


class Gradient(Protocol):
    """The gradient that a step would descend, of the parameters of the exact network: a tree of their structure.

    It is drawn by the state's key and step, and nothing else is: images are not augmented. Examples are a batch without
    what a method's own feed may add to it.
    """

    def __call__(self, state: State, examples: jax.Array, labels: jax.Array, /) -> Any: ...


class WithParams(Protocol):
    """The state at these parameters and statistics of the exact network, with hash tables made anew."""

    def __call__(self, state: State, params: Any, batch_stats: Any, /) -> State: ...


class Renewal(NamedTuple):
    """How a method renews what it keeps for several steps.

    Attributes:
        every: from one renewal to the next, in steps.
        step: trains on the first batch of each round, and renews the state's `tables`.
    """

    every: int
    step: Step


class Learner(NamedTuple):
    """The training of one network by one method.

    Attributes:
        init: makes the first state.
        step: trains on a batch.
        gradient, with_params: what a step descends, at any parameters of the exact network.
        feed: the batches.
        evaluations: of the network; that of the exact network comes first.
        rehash: what is due at the beginning of each round of steps; None for nothing.
        renewal: what a round's first step does, and how long a round is; None for steps that are alike.
        recalibrate: before the evaluation; None where the statistics fit the exact network.
        countable: whether XLA's count of a step's FLOPs is right: it counts one turn of each loop.
    """

    init: Init
    step: Step
    gradient: Gradient
    with_params: WithParams
    feed: Feed
    evaluations: tuple[Evaluate, ...]
    rehash: Rehash | None = None
    recalibrate: Recalibrate | None = None
    countable: bool = True
    renewal: Renewal | None = None

    @property
    def has_rounds(self) -> bool:
        """Whether something is due at the beginning of each round of steps."""
        return self.rehash is not None or self.renewal is not None


def stream(state: State, name: Stream, index: jax.Array) -> jax.Array:
    """Key number `index` of the stream `name`; the same for every method of a seed."""
    return jax.random.fold_in(jax.random.fold_in(state.key, name), index)
