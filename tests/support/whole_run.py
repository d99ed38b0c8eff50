"""A run of one seed as one pure function, put together from the pieces that the programs run one by one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.training.loop import Train


def whole_run(train: Train) -> Callable:
    """(key, train, test) -> (State, Metrics by epoch, test accuracies by epoch), for `jit` and `vmap`."""

    def run(key, train_split, test_split):
        def one_epoch(state, rounds):
            state, metrics = train.epoch(state, train_split, rounds)
            recalibrate = train.learner.recalibrate
            stats = state.batch_stats if recalibrate is None else recalibrate(state, train_split)
            return state, (metrics, train.learner.evaluations[0](state, stats, test_split)["test_accuracy"])

        state, (metrics, accuracies) = jax.lax.scan(one_epoch, train.init(key), jnp.asarray(train.rounds))
        return state, metrics, accuracies

    return run
