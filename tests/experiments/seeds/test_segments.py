"""Segments of an epoch, and chunks of seeds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick_compilation import jit
from small_digits import small_digits

from experiments.mlp.config import METHODS, MLPConfig
from experiments.mlp.learner import mlp_learner
from experiments.seeds.axis import SeedAxis
from experiments.seeds.segments import chunks, next_segment, numbered_seeds
from experiments.seeds.settings import families
from experiments.training.loop import make_train

CONFIG = MLPConfig(
    data="digits", images=60, width=12, layers=(2,), epochs=2, methods=("standard", "alsh"), active=0.3, rehash_every=7
)


@pytest.mark.parametrize("at_once", [0, 1, 2, 9])
def test_segments_cover_an_epoch(at_once):
    """Each step once, in order, in whole rounds where they rehash, and no more of them than asked for leads to."""
    rounds = np.array([[0, 0], [0, 4], [4, 8], [8, 10]] if at_once else [[0, 10]], np.int32)
    for sizes in ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), (3, 100, 100), (5, 1, 1, 1, 1, 1), (100, 100, 100)):
        done, steps = 0, []
        for size in sizes:
            if done == 10:
                break
            own, span, after = next_segment(rounds, at_once, done, size)
            assert len(own) == (at_once or 1)
            taken = [i for start, stop in own[span[0] : span[1]] for i in range(start, stop)]
            assert at_once or len(taken) == min(size, 10 - done)
            steps += taken
            done = after
            assert steps == list(range(done))
        assert done == 10


@pytest.mark.parametrize("method", ["standard", "alsh"])
def test_however_an_epoch_is_cut(method):
    """The state and the total after segments are those of the epoch, to the bit."""
    data = small_digits(60)
    train = make_train(CONFIG, mlp_learner(CONFIG, METHODS[method].layers(CONFIG), data), data)
    start = jit(train.init)(jax.random.key(0))
    whole, mean = jit(train.epoch)(start, data.train, train.rounds[0])
    segment, state, total, done = jit(train.segment), start, train.zero_metrics(), 0
    at_once = 4 if train.learner.has_rounds else 0
    for size in (1, 9, 20, 1000, 1000):
        if done < 60:
            rounds, span, done = next_segment(train.rounds[0], at_once, done, size)
            state, total = segment(state, total, data.train, jnp.int32(0), jnp.asarray(rounds), jnp.asarray(span))
    assert done == 60
    raw = [jax.tree.map(np.asarray, s._replace(key=jax.random.key_data(s.key))) for s in (whole, state)]
    jax.tree.map(np.testing.assert_array_equal, *raw)
    np.testing.assert_allclose(total.loss / 60, mean.loss, rtol=1e-6)  # divided in the program and out of it


def test_chunks_fill_up_with_the_last_member():
    """Five members by two at once: three chunks, the last one short; every seed has its own key."""
    config = dataclasses.replace(CONFIG, seeds=5, seed=7)
    (family,) = families(config, {"standard": METHODS["standard"]})
    made = chunks(family, numbered_seeds(config), SeedAxis("vmap", 2))
    assert [[seed for _, seed in chunk.members] for chunk in made] == [[7, 8], [9, 10], [11]]
    keys = [jax.random.key_data(jax.random.key(seed)) for seed in (7, 8, 9, 10, 11, 11)]
    np.testing.assert_array_equal(np.concatenate([chunk.keys for chunk in made]), keys)
