"""The pieces of `experiments.cifar`: augmentation, normalisation, and training as a pure function of a key."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from quick_compilation import jit
from small_digits import small_digits
from whole_run import whole_run

from experiments.cifar.config import METHODS, Config
from experiments.cifar.learner import cnn_learner
from experiments.cifar.network import BatchNorm
from experiments.data import load
from experiments.data.augment import augment
from experiments.data.dataset import hold_out
from experiments.training.loop import make_train
from experiments.training.rehashing import rounds_by_epoch
from jaxapprox.lsh import rebuild

CONFIG = Config(width=2, blocks=(1,), epochs=2, batch_size=8, lrs=(0.01,))


def training(config, method, data):
    return make_train(config, cnn_learner(config, METHODS[method].layers(config), data), data)


def test_augmented_images_are_shifts_and_mirror_images():
    """Each is one of the windows of its image's reflection, mirrored or not, and all of those occur."""
    crop = 1
    images = np.random.default_rng(0).integers(0, 256, (300, 4, 5, 3), np.uint8)
    actual = np.asarray(augment(jax.random.key(0), jnp.asarray(images), crop=crop, flip=True))
    seen = set()
    for image, result in zip(images, actual, strict=True):
        padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
        variants = {
            (i, j, mirrored): padded[i : i + 4, j : j + 5][:, :: -1 if mirrored else 1]
            for i in range(3)
            for j in range(3)
            for mirrored in (False, True)
        }
        matching = [name for name, variant in variants.items() if np.array_equal(variant, result)]
        assert matching
        seen.update(matching)
    assert len(seen) == 18
    assert np.array_equal(augment(jax.random.key(0), jnp.asarray(images), crop=0, flip=False), images)


def test_batch_norm_is_that_of_flax():
    """Outputs, running statistics and gradients, in training and with running statistics."""
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 3, 3, 5))
    g = jax.random.normal(jax.random.key(1), x.shape)
    for use_running in (False, True):
        ours, theirs = BatchNorm(), nn.BatchNorm(use_running_average=use_running, momentum=0.9)
        variables = theirs.init(jax.random.key(2), x)
        variables = jax.tree.map(lambda a: a + jnp.linspace(0.1, 0.5, 5), variables)

        def ours_of(v, x, ours=ours, use_running=use_running):
            return ours.apply(v, x, use_running=use_running, momentum=0.9, mutable=["batch_stats"])

        def theirs_of(v, x, theirs=theirs):
            return theirs.apply(v, x, mutable=["batch_stats"])

        results = []
        for function in (ours_of, theirs_of):
            (y, updated), pull = jax.vjp(function, variables, x)
            results.append((y, updated, pull((g, jax.tree.map(jnp.zeros_like, updated)))))
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-3), *results)


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


def test_held_out_images_are_not_trained_on():
    """The last tenth of the training images takes the place of the test images."""
    digits = load("digits")
    held = hold_out(digits)
    assert len(held.train.labels) + len(held.test.labels) == len(digits.train.labels)
    np.testing.assert_array_equal(np.concatenate([held.train.images, held.test.images]), digits.train.images)


def test_rehashes_are_due_as_the_paper_says():
    """Every step's last rehash is the one due by the schedule, or that of the epoch's beginning."""
    config = dataclasses.replace(CONFIG, epochs=3, rehash_every=4, rehash_decay_after=12, rehash_every_late=7)
    rounds = rounds_by_epoch(config, 10, rehash=True)
    due = {0, 4, 8, 12, 19, 26} | {0, 10, 20}
    begun = [10 * epoch + start for epoch in range(3) for start, stop in rounds[epoch] if start < stop]
    assert begun == sorted(due)
    steps = [10 * epoch + i for epoch in range(3) for start, stop in rounds[epoch] for i in range(start, stop)]
    assert steps == list(range(30))
    np.testing.assert_array_equal(rounds_by_epoch(config, 10, rehash=False), [[[0, 10]]] * 3)


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
