"""Training as pure functions of a key: `jit` and `vmap` take them whole."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.config import RunOptions, UsageError
from experiments.data import Dataset, Split
from experiments.rehashing import rounds_by_epoch
from jaxapprox.diagnostics import Diagnostics

_EVALUATION_BATCH = 500
_IMAGES_BETWEEN_REPORTS = 128  # a call of the host takes as long as a step of a small network


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
        rounds: (epochs, rounds, 2) int32, the rounds of each epoch.
        epoch: (State, train, rounds (rounds, 2)) -> (State, Metrics). Shuffled batches, in nested loops: each round
            rehashes and then runs from its first to before its last step of the epoch.
        recalibrate: as of the learner.
        accuracy: (State, batch_stats, split) -> accuracy of the exact network.
        hashed_accuracy: likewise through the hash; None if nothing is hashed.
        step: as of the learner.
        run: (key, train, test) -> (State, Metrics (epochs,), accuracies (epochs,)).
    """

    init: Callable
    rounds: np.ndarray
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


def report_every(config: RunOptions) -> int:
    """Steps from one call of `on_step` to the next."""
    return max(1, _IMAGES_BETWEEN_REPORTS // config.batch_size)


def make_train(
    config: RunOptions, learner: Learner, data: Dataset, on_step: Callable[[jax.Array], None] | None = None
) -> Train:
    """The training of one network on data shaped like `data`.

    Args:
        config: resolved.
        learner: of the network and method.
        data: for its shapes and sizes; its arrays are not captured.
        on_step: called on the host with a step's loss every `report_every` steps, in no order (for progress).
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

    def report(i: jax.Array, loss: jax.Array) -> None:
        if on_step is not None:
            due = i % report_every(config) == 0  # the same for all seeds: it stays a branch under vmap
            lax.cond(due, lambda loss: jax.debug.callback(on_step, loss), lambda loss: None, loss)

    def epoch(state: State, train: Split, rounds: jax.Array) -> tuple[State, Metrics]:
        batches = shuffled_batches(stream(state, Stream.ORDER, state.step), config, data)

        def one(i, carry):
            state, total = carry
            state, metrics = learner.step(state, train.images[batches[i]], train.labels[batches[i]])
            report(i, metrics.loss)
            return state, jax.tree.map(jnp.add, total, metrics)

        def one_round(carry, bounds):
            state, total = carry
            return lax.fori_loop(bounds[0], bounds[1], one, (rehashed(state), total)), None

        shape = jax.eval_shape(learner.step, state, train.images[:size], train.labels[:size])[1]
        nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shape)
        (state, total), _ = lax.scan(one_round, (state, nothing), rounds)
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
    return Train(init, rounds, epoch, learner.recalibrate, accuracy, hashed, learner.step, run)


def stream(state: State, name: Stream, index: jax.Array) -> jax.Array:
    """Key number `index` of the stream `name`; the same for every method of a seed."""
    return jax.random.fold_in(jax.random.fold_in(state.key, name), index)
