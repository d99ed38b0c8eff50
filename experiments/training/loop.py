"""Training as pure functions of a key: `jit` and `vmap` take them whole."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.data.dataset import Dataset, Split
from experiments.process.errors import UsageError
from experiments.training.learner import Learner, Logits, Metrics, State, Stream, stream
from experiments.training.options import RunOptions
from experiments.training.rehashing import rounds_by_epoch

_EVALUATION_BATCH = 500


class Constrain(Protocol):
    """Says how a batch is split over devices, as `jax.lax.with_sharding_constraint` does."""

    def __call__(self, batch: Any) -> Any: ...


class RunSegment(Protocol):
    """Trains a segment of an epoch: of its `rounds` (rounds, 2) int32 those from span[0] to before span[1].

    `first` is the epoch's first step in the run. The metrics of the steps are added to `total`. However an epoch is cut
    into segments, the result is the same to the bit.
    """

    def __call__(
        self, state: State, total: Metrics, train: Split, first: jax.Array, rounds: jax.Array, span: jax.Array
    ) -> tuple[State, Metrics]: ...


class RunEpoch(Protocol):
    """Trains a whole epoch of these `rounds`; returns the mean of its steps' metrics."""

    def __call__(self, state: State, train: Split, rounds: jax.Array) -> tuple[State, Metrics]: ...


class Accuracy(Protocol):
    """The share of a split's images that the network gets right, with these BatchNorm statistics."""

    def __call__(self, state: State, batch_stats: Any, split: Split) -> jax.Array: ...


class InitSeed(Protocol):
    """Makes the first state from a seed's key."""

    def __call__(self, key: jax.Array) -> State: ...


class ZeroMetrics(Protocol):
    """Makes the total of no steps."""

    def __call__(self) -> Metrics: ...


class Train(NamedTuple):
    """The training of one network in pieces. All are pure; a `Split` is an argument, so that one copy serves all seeds.

    Attributes:
        learner: of the network and method.
        init: makes the first state.
        rounds: `(epochs, rounds, 2)` int32, the rounds of each epoch: each rehashes, if the learner does, and then runs
            from its first to before its last step. Rounds that do not rehash may be cut anywhere.
        segment: trains a part of an epoch.
        zero_metrics: makes the total with which an epoch begins.
        epoch: trains a whole epoch.
        accuracies: by name, as `Learner.evaluations`.
    """

    learner: Learner
    init: InitSeed
    rounds: np.ndarray
    segment: RunSegment
    zero_metrics: ZeroMetrics
    epoch: RunEpoch
    accuracies: Mapping[str, Accuracy]


def steps_per_epoch(config: RunOptions, data: Dataset) -> int:
    """Whole batches of the training set; what is left over is another part of it in every epoch.

    Raises:
        UsageError: if there is none.
    """
    images = len(data.train.labels)
    if config.batch_size > images:
        raise UsageError(f"--batch-size must be at most the number of training images, {images}: {config.batch_size}")
    return images // config.batch_size


def shuffled_batches(key: jax.Array, config: RunOptions, data: Dataset) -> jax.Array:
    """`(steps, batch)` indices of an epoch's training images."""
    order = jax.random.permutation(key, len(data.train.labels))
    steps, size = steps_per_epoch(config, data), config.batch_size
    return order[: steps * size].reshape(steps, size)


def make_train(
    config: RunOptions, learner: Learner, data: Dataset, constrain: Constrain = lambda batch: batch
) -> Train:
    """The training of one network on data shaped like `data`.

    Args:
        config: the options.
        learner: of the network and method.
        data: for its shapes and sizes; its arrays are not captured.
        constrain: applied to each batch.
    """
    chex.assert_rank((data.train.images, data.train.labels), (4, 1))
    chex.assert_type((data.train.images, data.train.labels), (jnp.uint8, jnp.int32))
    steps, size = steps_per_epoch(config, data), config.batch_size
    rounds = rounds_by_epoch(config, steps, rehash=learner.rehash is not None)

    def init(key: jax.Array) -> State:
        return learner.init(*jax.random.split(key))

    def rehashed(state: State) -> State:
        if learner.rehash is None:
            return state
        params, tables = learner.rehash(state.params, state.tables)
        return state._replace(params=params, tables=tables)

    def zero_metrics() -> Metrics:
        state = jax.eval_shape(init, jax.random.key(0))
        images, labels = (jax.ShapeDtypeStruct((size, *a.shape[1:]), a.dtype) for a in data.train)
        _, metrics = jax.eval_shape(learner.step, state, images, labels)
        return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), metrics)

    def segment(
        state: State, total: Metrics, train: Split, first: jax.Array, rounds: jax.Array, span: jax.Array
    ) -> tuple[State, Metrics]:
        batches = shuffled_batches(stream(state, Stream.ORDER, first), config, data)

        def one_step(i, carry):
            state, total = carry
            images, labels = constrain((train.images[batches[i]], train.labels[batches[i]]))
            new, metrics = learner.step(state, images, labels)
            chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
            return new, jax.tree.map(jnp.add, total, metrics)

        def one_round(r, carry):
            state, total = carry
            return lax.fori_loop(rounds[r, 0], rounds[r, 1], one_step, (rehashed(state), total))

        return lax.fori_loop(span[0], span[1], one_round, (state, total))

    def epoch(state: State, train: Split, rounds: jax.Array) -> tuple[State, Metrics]:
        rounds = jnp.asarray(rounds)
        state, total = segment(state, zero_metrics(), train, state.step, rounds, jnp.array([0, len(rounds)]))
        return state, jax.tree.map(lambda a: a / steps, total)

    accuracies = {name: _accuracy_of(logits) for name, logits in learner.evaluations.items()}
    return Train(learner, init, rounds, segment, zero_metrics, epoch, accuracies)


def _accuracy_of(logits_of: Logits) -> Accuracy:
    """Evaluates 500 images at once, of which the last ones of a split may be less."""

    def accuracy(state: State, batch_stats: Any, split: Split) -> jax.Array:
        n = len(split.labels)
        size = min(_EVALUATION_BATCH, n)
        chunks = -(-n // size)
        index = jnp.arange(chunks * size).reshape(chunks, size)
        key = stream(state, Stream.EVALUATE, state.step)

        def correct(chunk):
            own_key = jax.random.fold_in(key, chunk[0])
            logits = logits_of(state, batch_stats, split.images[chunk % n], own_key)
            chex.assert_shape(logits, (size, None))
            return jnp.sum((jnp.argmax(logits, -1) == split.labels[chunk % n]) & (chunk < n))

        return jnp.sum(lax.map(correct, index)) / n

    return accuracy
