"""Training as pure functions of a key: `jit` and `vmap` take them whole."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.training.learner import Learner, Metrics, State, Step
from experiments.training.options import RunOptions
from experiments.training.rounds import rehashes_due, rounds_by_epoch

_ROUNDS_AT_ONCE = 64


class Data(Protocol):
    """What is trained and tested on: trees of arrays."""

    @property
    def train(self) -> Any: ...

    @property
    def test(self) -> Any: ...


class Constrain(Protocol):
    """Says how a batch is split over devices, as `jax.lax.with_sharding_constraint` does."""

    def __call__(self, batch: Any) -> Any: ...


class RunSegment(Protocol):
    """Trains a segment of an epoch: of its `rounds` (rounds, 2) int32 those from span[0] to before span[1].

    `first` is the epoch's first step in the run. The metrics of the steps are added to `total`. However an epoch is cut
    into segments, the result is the same to the bit.
    """

    def __call__(
        self, state: State, total: Metrics, train: Any, first: jax.Array, rounds: jax.Array, span: jax.Array
    ) -> tuple[State, Metrics]: ...


class RunEpoch(Protocol):
    """Trains a whole epoch of these `rounds`; returns the mean of its steps' metrics."""

    def __call__(self, state: State, train: Any, rounds: jax.Array) -> tuple[State, Metrics]: ...


class InitSeed(Protocol):
    """Makes the first state from a seed's key."""

    def __call__(self, key: jax.Array) -> State: ...


class FirstBatch(Protocol):
    """Takes the first examples and labels from the training data."""

    def __call__(self, state: State, train: Any) -> tuple[jax.Array, jax.Array]: ...


class ZeroMetrics(Protocol):
    """Makes the total of no steps."""

    def __call__(self) -> Metrics: ...


class Train(NamedTuple):
    """The training of one network in pieces. All are pure; data is an argument, so that one copy serves all seeds.

    Attributes:
        learner: of the network and method.
        init: makes the first state.
        rounds: `(epochs, rounds, 2)` int32, the rounds of each epoch: each rehashes, if the learner does, and then runs
            from its first to before its last step. Where nothing is due at their beginnings they may be cut anywhere.
        first_batch: that of the run's first step.
        segment: trains a part of an epoch.
        zero_metrics: makes the total with which an epoch begins.
        epoch: trains a whole epoch.
    """

    learner: Learner
    init: InitSeed
    rounds: np.ndarray
    first_batch: FirstBatch
    segment: RunSegment
    zero_metrics: ZeroMetrics
    epoch: RunEpoch

    @property
    def rounds_at_once(self) -> int:
        """How many rounds a compiled segment takes: as many for every epoch and number of steps."""
        return _ROUNDS_AT_ONCE if self.learner.has_rounds else 1


def make_train(config: RunOptions, learner: Learner, data: Data, constrain: Constrain = lambda batch: batch) -> Train:
    """The training of one network on data shaped like `data`.

    Args:
        config: the options.
        learner: of the network and method.
        data: for its shapes and sizes; its arrays are not captured.
        constrain: applied to each batch.
    """
    rounds = rounds_by_epoch(learner.feed.steps, _due(config, learner))

    def init(key: jax.Array) -> State:
        return learner.init(*jax.random.split(key))

    def rehashed(state: State) -> State:
        if learner.rehash is None:
            return state
        params, tables = learner.rehash(state.params, state.tables)
        return state._replace(params=params, tables=tables)

    def first_batch(state: State, train: Any) -> tuple[jax.Array, jax.Array]:
        return learner.feed.batches(state, train, jnp.int32(0))(jnp.int32(0))

    def zero_metrics() -> Metrics:
        state = jax.eval_shape(init, jax.random.key(0))
        _, metrics = jax.eval_shape(learner.step, state, *jax.eval_shape(first_batch, state, data.train))
        return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), metrics)

    def segment(
        state: State, total: Metrics, train: Any, first: jax.Array, rounds: jax.Array, span: jax.Array
    ) -> tuple[State, Metrics]:
        batch = learner.feed.batches(state, train, first)

        def steps(step: Step, first, last, carry):
            def one_step(i, carry):
                state, total = carry
                new, metrics = step(state, *constrain(batch(i)))
                chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
                return new, jax.tree.map(jnp.add, total, metrics)

            return lax.fori_loop(first, last, one_step, carry)

        def one_round(r, carry):
            state, total = carry
            (first, last), carry = rounds[r], (rehashed(state), total)
            if learner.renewal is not None:
                begun = jnp.minimum(first + 1, last)  # an epoch may have empty rounds
                first, carry = begun, steps(learner.renewal.step, first, begun, carry)
            return steps(learner.step, first, last, carry)

        return lax.fori_loop(span[0], span[1], one_round, (state, total))

    def epoch(state: State, train: Any, rounds: jax.Array) -> tuple[State, Metrics]:
        rounds = jnp.asarray(rounds)
        state, total = segment(state, zero_metrics(), train, state.step, rounds, jnp.array([0, len(rounds)]))
        return state, jax.tree.map(lambda a: a / rounds[-1, 1], total)

    return Train(learner, init, rounds, first_batch, segment, zero_metrics, epoch)


def _due(config: RunOptions, learner: Learner) -> Sequence[int]:
    """The steps of the run that begin a round, besides those that begin an epoch."""
    steps = int(learner.feed.steps.sum())
    if learner.renewal is not None:
        return range(0, steps, learner.renewal.every)
    return rehashes_due(config, steps) if learner.rehash is not None else ()
