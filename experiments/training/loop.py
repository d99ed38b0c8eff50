"""Training as pure functions of a key: `jit` and `vmap` take them whole."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.data.dataset import Dataset, Split
from experiments.process.errors import UsageError
from experiments.training.options import RunOptions
from experiments.training.rehashing import rounds_by_epoch
from jaxapprox.diagnostics import Diagnostics

_EVALUATION_BATCH = 500


class Stream(enum.IntEnum):
    """The named streams drawn from a seed's key, by `fold_in`."""

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
    """Of a step, or their means over an epoch: the loss, and each hashed layer's `Diagnostics` by its name."""

    loss: jax.Array
    diagnostics: dict[str, Diagnostics]


class Learner(NamedTuple):
    """What differs from one network and method to another.

    Attributes:
        init: (init_key, stream_key) -> State, at step 0; the second key is the state's.
        step: (State, images uint8, labels) -> (State, Metrics).
        logits: (State, batch_stats, images uint8, key) -> (batch, classes), of the exact network; the key is not used.
        hashed_logits: likewise through the hash; None if nothing is hashed.
        rehash: (params, tables) -> (params, tables), what is due at the beginning of a round; None for nothing.
        recalibrate: (State, train) -> batch_stats, re-estimated by exact forwards; None where that is not needed.
    """

    init: Callable
    step: Callable
    logits: Callable
    hashed_logits: Callable | None = None
    rehash: Callable | None = None
    recalibrate: Callable | None = None


class Train(NamedTuple):
    """A run in pieces, and whole. All are pure; `Split`s are arguments, so that one copy serves all seeds.

    Attributes:
        init: key -> State.
        rounds: (epochs, rounds, 2) int32, the rounds of each epoch: each rehashes and then runs from its first to
            before its last step.
        rehashes: whether it does; rounds that do not may be split.
        segment: (State, total Metrics, train, first, rounds (rounds, 2), span (2,)) -> (State, total Metrics). Part of
            an epoch: of its `rounds` those from span[0] to before span[1]. `first` is the epoch's first step in the
            run; the steps' metrics are added to `total`. However an epoch is cut, the result is the same to the bit.
        nothing: () -> the total of no steps.
        epoch: (State, train, rounds (rounds, 2)) -> (State, mean Metrics), a whole one.
        recalibrate: as of the learner.
        accuracy: (State, batch_stats, split) -> accuracy of the exact network.
        hashed_accuracy: likewise through the hash; None if nothing is hashed.
        step: as of the learner.
        run: (key, train, test) -> (State, Metrics (epochs,), accuracies (epochs,)).
    """

    init: Callable
    rounds: np.ndarray
    rehashes: bool
    segment: Callable
    nothing: Callable
    epoch: Callable
    recalibrate: Callable | None
    accuracy: Callable
    hashed_accuracy: Callable | None
    step: Callable
    run: Callable


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
    config: RunOptions, learner: Learner, data: Dataset, constrain: Callable[[Any], Any] = lambda batch: batch
) -> Train:
    """The training of one network on data shaped like `data`.

    Args:
        config: resolved.
        learner: of the network and method.
        data: for its shapes and sizes; its arrays are not captured.
        constrain: applied to each batch; `jax.lax.with_sharding_constraint` splits it over devices.
    """
    steps, size = steps_per_epoch(config, data), config.batch_size
    rounds = rounds_by_epoch(config, steps, rehash=learner.rehash is not None)

    def init(key: jax.Array) -> State:
        return learner.init(*jax.random.split(key))

    def rehashed(state: State) -> State:
        if learner.rehash is None:
            return state
        params, tables = learner.rehash(state.params, state.tables)
        return state._replace(params=params, tables=tables)

    def nothing() -> Metrics:
        state = jax.eval_shape(init, jax.random.key(0))
        images, labels = (jax.ShapeDtypeStruct((size, *a.shape[1:]), a.dtype) for a in data.train)
        _, metrics = jax.eval_shape(learner.step, state, images, labels)
        return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), metrics)

    def segment(
        state: State, total: Metrics, train: Split, first: jax.Array, rounds: jax.Array, span: jax.Array
    ) -> tuple[State, Metrics]:
        batches = shuffled_batches(stream(state, Stream.ORDER, first), config, data)

        def one(i, carry):
            state, total = carry
            images, labels = constrain((train.images[batches[i]], train.labels[batches[i]]))
            state, metrics = learner.step(state, images, labels)
            return state, jax.tree.map(jnp.add, total, metrics)

        def one_round(r, carry):
            state, total = carry
            return lax.fori_loop(rounds[r, 0], rounds[r, 1], one, (rehashed(state), total))

        return lax.fori_loop(span[0], span[1], one_round, (state, total))

    def epoch(state: State, train: Split, rounds: jax.Array) -> tuple[State, Metrics]:
        rounds = jnp.asarray(rounds)
        state, total = segment(state, nothing(), train, state.step, rounds, jnp.array([0, len(rounds)]))
        return state, jax.tree.map(lambda a: a / steps, total)

    def accuracy_by(logits_of: Callable) -> Callable:
        def accuracy(state: State, batch_stats: Any, split: Split) -> jax.Array:
            n = len(split.labels)
            size = min(_EVALUATION_BATCH, n)
            chunks = -(-n // size)
            index = jnp.arange(chunks * size).reshape(chunks, size)
            key = stream(state, Stream.EVALUATE, state.step)

            def correct(chunk):
                own_key = jax.random.fold_in(key, chunk[0])
                logits = logits_of(state, batch_stats, split.images[chunk % n], own_key)
                return jnp.sum((jnp.argmax(logits, -1) == split.labels[chunk % n]) & (chunk < n))

            return jnp.sum(lax.map(correct, index)) / n

        return accuracy

    accuracy = accuracy_by(learner.logits)

    def run(key: jax.Array, train: Split, test: Split) -> tuple[State, Metrics, jax.Array]:
        def one(state, rounds):
            state, metrics = epoch(state, train, rounds)
            stats = state.batch_stats if learner.recalibrate is None else learner.recalibrate(state, train)
            return state, (metrics, accuracy(state, stats, test))

        state, (metrics, accuracies) = lax.scan(one, init(key), jnp.asarray(rounds))
        return state, metrics, accuracies

    hashed = None if learner.hashed_logits is None else accuracy_by(learner.hashed_logits)
    rehashes = learner.rehash is not None
    return Train(
        init, rounds, rehashes, segment, nothing, epoch, learner.recalibrate, accuracy, hashed, learner.step, run
    )


def stream(state: State, name: Stream, index: jax.Array) -> jax.Array:
    """Key number `index` of the stream `name`; the same for every method of a seed."""
    return jax.random.fold_in(jax.random.fold_in(state.key, name), index)
