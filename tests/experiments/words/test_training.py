"""Training row by row, and evaluation, against plain dense code."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick_compilation import jit
from small_text import small_lines

from experiments.seeds import clock
from experiments.seeds.segments import numbered_seeds
from experiments.seeds.settings import families
from experiments.seeds.train_family import train_family
from experiments.training.evaluation_steps import evaluation_steps
from experiments.training.task import Task, chosen_methods
from experiments.words import data as words_data
from experiments.words import evaluation
from experiments.words.config import METHODS, PROPOSALS, WordsConfig
from experiments.words.data import WordsData, load_data
from experiments.words.learner import make_optimizer, words_learner
from experiments.words.places import places_at
from experiments.words.text import to_text

CONFIG = WordsConfig(
    features=3, window=2, batch_sizes=(9,), candidates=(50,), subsample=0, queries=9, num_bits=2, lrs=(0.2,)
)


@pytest.fixture(scope="module")
def data() -> WordsData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words_data, "load_text", lambda path, min_count: to_text("own", small_lines(), min_count=1))
        return load_data(CONFIG)


def learner_of(method, config, data):
    return words_learner(config, METHODS[method].layers(config), data)


def scores_of(params, contexts):
    """Dense."""
    there = (contexts >= 0)[:, :, None]
    hidden = jnp.sum(jnp.where(there, params["embedding"][contexts], 0), 1) / jnp.sum(there, 1)
    return hidden @ params.get("weights", params["embedding"]).T + params["bias"][None]


@pytest.mark.parametrize("method", ["exact", "sampled", "hashed"])
@pytest.mark.parametrize(("optimizer", "tied"), [("sgd", True), ("adagrad", False), ("rowwise_adagrad", True)])
def test_rows_train_as_dense_layers_do(data, method, optimizer, tied):
    """With all words as candidates, every method is the plain softmax under the plain optimizer."""
    config = dataclasses.replace(CONFIG, optimizer=optimizer, tied=tied, proposals=("uniform",))
    learner = learner_of(method, config, data)
    state = jit(learner.init)(jax.random.key(0), jax.random.key(1))
    params, dense = state.params, make_optimizer(config, 4)
    opt_state = dense.init(params)

    def loss_of(params, contexts, labels):
        return optax.softmax_cross_entropy_with_integer_labels(scores_of(params, contexts), labels).mean()

    batch = jit(lambda state, i: learner.feed.batches(state, data.train, jnp.int32(0))(i))

    @jit
    def reference(params, opt_state, contexts, labels):
        loss, gradient = jax.value_and_grad(loss_of)(params, contexts, labels)
        updates, opt_state = dense.update(gradient, opt_state)
        return loss, gradient, optax.apply_updates(params, updates), opt_state

    step = jit(learner.step)
    gradient_of = jit(lambda state, params, *batch: learner.gradient(learner.with_params(state, params, {}), *batch))
    for i in range(4):
        contexts, labels = batch(state, i)
        own = gradient_of(state, params, contexts, labels)
        state, metrics = step(state, contexts, labels)
        loss, gradient, params, opt_state = reference(params, opt_state, contexts, labels)
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-6), own, gradient)
        np.testing.assert_allclose(metrics.loss, loss, rtol=1e-4)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-4), dict(state.params), params)


@pytest.mark.parametrize("proposal", list(PROPOSALS))
def test_every_proposal_trains(data, proposal):
    """In one step from nothing learned, the loss is about that of all words as alike."""
    config = dataclasses.replace(CONFIG, proposals=(proposal,), candidates=(20,), optimizer="adam")
    learner = learner_of("sampled", config, data)
    state = jit(learner.init)(jax.random.key(0), jax.random.key(1))
    contexts, labels = places_at(data.train, jnp.arange(9), config.window)
    state, metrics = jit(learner.step)(state, contexts, labels)
    assert abs(metrics.loss - np.log(len(data.vocabulary))) < 1
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(state.params))


def test_places_are_those_of_the_text(data):
    """Under jit as by NumPy, from the first to the last."""
    positions = np.arange(len(data.train.tokens) - 2 * CONFIG.window)
    expected = places_at(jax.tree.map(np.asarray, data.train), positions, CONFIG.window)
    found = jax.jit(places_at, static_argnums=2)(data.train, jnp.asarray(positions), CONFIG.window)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    np.testing.assert_array_equal(data.frequencies, 1 + np.bincount(expected.labels, minlength=len(data.vocabulary)))


def test_evaluation_counts_ties_and_nan_against(data, monkeypatch):
    """Against a sort of dense scores, in chunks of which the last is not full; NaN is never a hit."""
    monkeypatch.setattr(evaluation, "_AT_ONCE", 7)
    learner = learner_of("hashed", CONFIG, data)
    (evaluate,) = learner.evaluations
    state = jit(learner.init)(jax.random.key(0), jax.random.key(1))
    columns = jit(evaluate)(state, {}, data.test)
    assert columns["hit_at_10"] == columns["hit_at_1"] == 0  # all words are tied
    np.testing.assert_allclose(columns["test_loss"], np.log(len(data.vocabulary)), rtol=1e-5)
    weights = jax.random.normal(jax.random.key(2), state.params["weights"].shape).round()
    params = {**state.params, "weights": weights}
    columns = jit(evaluate)(state._replace(params=params), {}, data.test)
    scores, labels = np.asarray(scores_of(params, data.test.contexts)), np.asarray(data.test.labels)
    of_labels = scores[np.arange(len(labels)), labels]
    ranks = np.sum(scores >= of_labels[:, None] - 1e-6, 1) - 1
    np.testing.assert_allclose(
        [columns["hit_at_1"], columns["hit_at_10"]], [np.mean(ranks < k) for k in (1, 10)], atol=1e-6
    )
    log_sums = np.log(np.sum(np.exp(scores), 1))
    np.testing.assert_allclose(columns["test_loss"], np.mean(log_sums - of_labels), rtol=1e-4)
    assert 0 <= columns["hash_recall"] <= 1 and columns["steps"] == 0
    broken = jit(evaluate)(state._replace(params={**params, "bias": params["bias"] + jnp.nan}), {}, data.test)
    assert broken["hit_at_10"] == 0


def test_evaluations_come_early_and_late():
    """As many as asked for, at different steps that sum to all, in about geometric progression where there is room."""
    for steps, count in ((4, 4), (5, 4), (1000, 1), (256, 16), (60_000, 16), (30, 17)):
        between = evaluation_steps(steps, count)
        assert len(between) == count and between.sum() == steps and between.min() >= 1
    ends = np.cumsum(evaluation_steps(60_000, 16))
    np.testing.assert_allclose(ends[1:] / ends[:-1], 256 ** (1 / 15), rtol=0.01)


def test_seconds_in_memory_are_a_schedule_that_ends_with_them(data, monkeypatch):
    """`train_family` with the steps that seconds came to gives the same rows, where the learning rate follows them."""
    monkeypatch.setattr(clock, "_TRIAL_SECONDS", 0.01)
    config = dataclasses.replace(CONFIG, methods=("exact",), schedule="cosine", evaluations=1, seconds=0.05)
    task = Task("", "", data, chosen_methods(config), functools.partial(words_learner, data=data))

    def last(config):
        (family,) = families(config, task.methods)
        return train_family(family, numbered_seeds(config), task)[-1]

    timed = last(config)
    counted = last(dataclasses.replace(config, steps=timed.steps))
    assert (timed.steps, timed.test_loss, timed.train_loss) == (counted.steps, counted.test_loss, counted.train_loss)
