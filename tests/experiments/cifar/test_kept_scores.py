"""Training by mc whose rows are scored every few steps, and drawn by these scores in between."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick_compilation import jit
from small_digits import small_digits

from experiments.cifar.config import METHODS, Config
from experiments.cifar.learner import cnn_learner
from experiments.process.errors import UsageError
from experiments.seeds.segments import next_segment
from experiments.training.loop import make_train

CONFIG = Config(width=4, blocks=(1,), epochs=2, batch_size=8, lrs=(0.01,), samplers=("systematic",), methods=("mc",))


def training(config, data):
    return make_train(config, cnn_learner(config, METHODS["mc"].layers(config), data), data)


def plain(state):
    return jax.tree.map(np.asarray, state._replace(key=jax.random.key_data(state.key)))


def test_rows_are_scored_as_each_round_begins():
    """Steps 0, 3, 5 (an epoch's first), 6 and 9 of ten; an epoch is the same steps one by one, however it is cut."""
    data = small_digits()
    train = training(dataclasses.replace(CONFIG, resample_every=3), data)
    assert [r[r[:, 0] < r[:, 1]].tolist() for r in train.rounds] == [[[0, 3], [3, 5]], [[0, 1], [1, 4], [4, 5]]]
    start = jit(train.init)(jax.random.key(0))
    assert jax.tree.map(np.shape, start.tables) == {"ResidualBlock_0": {f"MCConv_{i}": {"rows": (4,)} for i in (0, 1)}}
    whole, mean = jit(train.epoch)(start, data.train, train.rounds[0])

    step, scoring = jit(train.learner.step), jit(train.learner.renewal.step)
    batch = jit(lambda state, i: train.learner.feed.batches(state, data.train, jnp.int32(0))(i))
    state, losses, kept = start, [], []
    for i in range(5):
        state, metrics = (scoring if i in (0, 3) else step)(state, *batch(start, i))
        losses.append(metrics.loss)
        kept.append(jax.tree.leaves(state.tables)[0])
    chex.assert_trees_all_close(plain(whole), plain(state), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(mean.loss, np.mean(losses), rtol=1e-4)
    np.testing.assert_array_equal(np.diff(np.stack(kept), axis=0).any(-1), [False, False, True, False])
    assert all((scores > 0).all() for scores in kept)

    segment, state, total, done = jit(train.segment), start, train.zero_metrics(), 0
    while done < 5:
        rounds, span, done = next_segment(train.rounds[0], 4, done, 1)
        state, total = segment(state, total, data.train, jnp.int32(0), jnp.asarray(rounds), jnp.asarray(span))
    jax.tree.map(np.testing.assert_array_equal, plain(whole), plain(state))


def test_a_first_step_is_that_of_scores_for_each():
    data = small_digits()
    every, kept = (training(dataclasses.replace(CONFIG, resample_every=n), data) for n in (1, 5))
    assert every.learner.renewal is None
    state = jit(every.init)(jax.random.key(0))
    batch = [a[:8] for a in data.train]
    expected, _ = jit(every.learner.step)(state, *batch)
    actual, _ = jit(kept.learner.renewal.step)(jit(kept.init)(jax.random.key(0)), *batch)
    chex.assert_trees_all_close(actual.params, expected.params, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mode", ["backward", "kernel"])
def test_modes_that_draw_by_gradients_and_examples(mode):
    with pytest.raises(UsageError, match=f"^--resample-every must be 1 with --mode {mode}.*, got 4$"):
        dataclasses.replace(CONFIG, mode=mode, resample_every=4).check()
    with pytest.raises(UsageError, match=r"^--resample-every must be"):
        dataclasses.replace(CONFIG, resample_every=0).check()
