"""Training by `experiments.cifar` as a pure function of a key."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
from quick_compilation import jit
from small_digits import small_digits
from whole_run import whole_run

from experiments.cifar.config import METHODS, Config
from experiments.cifar.learner import cnn_learner
from experiments.training.loop import make_train
from jaxapprox.lsh import rebuild

CONFIG = Config(width=2, blocks=(1,), epochs=2, batch_size=8, lrs=(0.01,))


def training(config, method, data):
    return make_train(config, cnn_learner(config, METHODS[method].layers(config), data), data)


@pytest.mark.parametrize("method", ["mc", "alsh"])
def test_whole_run_under_jit_and_vmap(method):
    """The run of two keys at once is that of each; another key is another run."""
    data = small_digits()
    run = whole_run(training(CONFIG, method, data))
    keys = jax.random.split(jax.random.key(0), 2)
    _, metrics, accuracies = jit(jax.vmap(run, in_axes=(0, None, None)))(keys, data.train, data.test)
    losses = metrics.loss
    assert losses.shape == accuracies.shape == (2, CONFIG.epochs)
    assert losses[0, 0] != losses[1, 0]
    one = jit(run)(keys[1], data.train, data.test)
    np.testing.assert_allclose(one[1].loss, losses[1], rtol=1e-3)
    np.testing.assert_allclose(one[2], accuracies[1], atol=1.5 / 11)


def test_methods_of_a_seed_start_alike():
    """Same initial parameters, and the same first loss where sampling keeps everything."""
    data, keep_all = small_digits(), dataclasses.replace(CONFIG, ratios=(1.0,), active=1.0)
    first = {}
    for method in ("exact", "mc", "alsh"):
        train = training(keep_all, method, data)
        state = jit(train.init)(jax.random.key(3))
        first[method] = state.params, jit(train.learner.step)(state, *(a[:8] for a in data.train))[1].loss
    jax.tree.map(np.testing.assert_array_equal, first["mc"], first["exact"])
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5), first["alsh"], first["exact"])


def test_sampled_kernel_gradients_leave_the_forward_pass_exact():
    """Mode kernel: loss, BatchNorm's statistics and the other gradients are exact training's."""
    data, config = small_digits(), dataclasses.replace(CONFIG, mode="kernel", ratios=(0.5,))
    trains = {method: training(config, method, data) for method in ("exact", "mc")}
    assert trains["mc"].learner.recalibrate is None
    state = jit(trains["exact"].init)(jax.random.key(3))
    batch = [a[:8] for a in data.train]
    (exact, exact_metrics), (sampled, metrics) = (jit(t.learner.step)(state, *batch) for t in trains.values())
    np.testing.assert_allclose(metrics.loss, exact_metrics.loss, rtol=1e-5)
    chex.assert_trees_all_close(sampled.batch_stats, exact.batch_stats, rtol=1e-4, atol=1e-5)
    close = jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-4, atol=1e-6), sampled.params, exact.params)
    assert close["stem"]["kernel"] and close["classifier"]["kernel"]  # whose gradients pass through all others
    sampled_layers = [leaf for path, leaf in jax.tree.leaves_with_path(close) if "Conv" in str(path)]
    assert sampled_layers and not any(sampled_layers)


def test_recalibration_averages_exact_batches():
    """With one batch that is the whole training set, the statistics are that batch's own, whatever they were."""
    config = dataclasses.replace(CONFIG, batch_size=40)
    data = dataclasses.replace(small_digits(), crop=0)
    train = training(config, "mc", data)
    state = jit(train.init)(jax.random.key(0))
    spoiled = state._replace(batch_stats=jax.tree.map(lambda a: a + 7, state.batch_stats))
    actual = jit(train.learner.recalibrate)(spoiled, data.train)["stem_norm"]["mean"]
    images = (np.float64(data.train.images) - 127.5) / 64
    kernel = np.float64(state.params["stem"]["kernel"])
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    mean = sum((padded[:, i : i + 8, j : j + 8] @ kernel[i, j]).mean((0, 1, 2)) for i in range(3) for j in range(3))
    np.testing.assert_allclose(actual, mean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("every", [0, 2])
def test_tables_follow_the_schedule(every):
    """After two epochs of 5 steps the tables are those of the weights two steps before, or were never rebuilt."""
    # Far enough to change codes in a few steps.
    config = dataclasses.replace(CONFIG, blocks=(1, 1), rehash_every=every, lrs=(0.5,))
    data = small_digits()
    train = training(config, "alsh", data)
    epoch = jit(train.epoch)
    state = start = jit(train.init)(jax.random.key(0))
    for rounds in train.rounds:
        before, (state, metrics) = state, epoch(state, data.train, rounds)
    assert 0 < metrics.diagnostics["hidden"].recall < 1 and metrics.diagnostics["hidden"].drift > 0
    built, now = (s.tables["hidden"]["tables"] for s in (start, state))
    np.testing.assert_array_equal(now.projections, built.projections)
    if not every:
        np.testing.assert_array_equal(now.codes, built.codes)
        return
    assert len(train.rounds[0]) == 3 and train.rounds[1].tolist()[-1] == [3, 5]  # rehashed before steps 5, 6 and 8
    until = np.asarray([[0, 0], [0, 1], [1, 3]], np.int32)
    two_before, _ = epoch(before, data.train, until)
    np.testing.assert_array_equal(now.codes, rebuild(now, two_before.params["hidden"]["kernel"].T).codes)
    assert np.any(now.codes != built.codes)


def test_blocks_of_channels_where_there_are_enough():
    """With --unit block, of convolutions of 384 and 256 input channels those of three blocks or more are sampled."""
    method = METHODS["mc"].layers(dataclasses.replace(CONFIG, unit="block", min_blocks=3))
    for channels, kept in ((384, 256), (256, 256)):  # half of three blocks is two, by `round`
        layer, x = method.conv(4, (1, 1)), jax.numpy.ones((2, 1, 1, channels))
        variables = layer.init(jax.random.key(0), x, deterministic=True)

        def output(x, layer=layer, variables=variables):
            return layer.apply(variables, x, deterministic=False, rngs={"sample": jax.random.key(1)}).sum()

        assert np.count_nonzero(jit(jax.grad(output))(x)[0]) == kept
