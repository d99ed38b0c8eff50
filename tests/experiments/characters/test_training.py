"""The transformer and its gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick_compilation import jit

from experiments.characters.config import METHODS, CharactersConfig
from experiments.characters.data import CharactersData
from experiments.characters.learner import characters_learner
from experiments.characters.network import Transformer
from jaxapprox.linen import MCDense

CONFIG = CharactersConfig(
    blocks=1, features=8, heads=2, window=6, batch_sizes=(4,), ratios=(1.0,), measure_every=2, steps=20
)


@pytest.fixture(scope="module")
def data() -> CharactersData:
    stretches = jax.random.randint(jax.random.key(0), (3, 97), 0, 5)
    return CharactersData("own", "abcde", stretches, stretches[:2, :7])


def learner_of(method, data, config=CONFIG):
    return characters_learner(config, METHODS[method].layers(config), data)


def first_batch(learner, state, data):
    return jit(lambda state: learner.feed.batches(state, data.train, jnp.int32(0))(jnp.int32(0)))(state)


def test_later_characters_change_nothing():
    """Logits of a position are those without what follows; and what is before it matters."""
    model = Transformer(2, 8, 2, 5, functools.partial(MCDense, ratio=1.0))
    tokens = jnp.array([[0, 1, 2, 3, 4, 0]])
    variables = model.init(jax.random.key(0), tokens, exact=True)
    apply = jit(lambda tokens: model.apply(variables, tokens, exact=True))
    logits, later, earlier = apply(tokens), apply(tokens.at[0, 3].set(1)), apply(tokens.at[0, 0].set(1))
    np.testing.assert_array_equal(logits[:, :3], later[:, :3])
    assert (logits[:, 3:] != later[:, 3:]).any(-1).all() and (logits != earlier).any(-1).all()


@pytest.mark.parametrize("method", ["mc", "kernel", "adaptive"])
def test_all_rows_are_exact(method, data):
    """With all rows kept, or at the first level, the gradient is that of exact training, but for rounding."""
    exact, sampled = learner_of("exact", data), learner_of(method, data)
    state, other = (jit(learner.init)(jax.random.key(0), jax.random.key(1)) for learner in (exact, sampled))
    tokens, labels = first_batch(exact, state, data)
    gradients = (jit(exact.gradient)(state, tokens, labels), jit(sampled.gradient)(other, tokens, labels))
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-7), *gradients)


def test_a_step_is_adamw_on_the_gradient(data):
    """Also where rows are sampled; the batch is a window of the text and what follows each of its characters."""
    config = dataclasses.replace(CONFIG, ratios=(0.5,))
    learner = learner_of("kernel", data, config)
    state = jit(learner.init)(jax.random.key(0), jax.random.key(1))
    tokens, labels = first_batch(learner, state, data)
    np.testing.assert_array_equal(tokens[:, 1:], labels[:, :-1])
    windows = {tuple(row[i : i + 7]) for row in np.asarray(data.train).tolist() for i in range(91)}
    assert all((*row, last) in windows for row, last in zip(tokens.tolist(), labels[:, -1].tolist(), strict=True))
    gradient = jit(learner.gradient)(state, tokens, labels)
    stepped, metrics = jit(learner.step)(state, tokens, labels)
    rate = optax.cosine_onecycle_schedule(20, config.lr, pct_start=0.25)
    mask = jax.tree.map(lambda p: p.ndim > 1, state.params)
    reference = optax.adamw(rate, b2=config.beta2, weight_decay=config.weight_decay, mask=mask)

    @jit
    def reference_step(params, gradient):
        updates, _ = reference.update(gradient, reference.init(params), params)
        return optax.apply_updates(params, updates)

    expected = reference_step(state.params, gradient)
    for params in (stepped.params, expected):
        del params["block_0"]["attention"]["key"]["bias"]  # its gradient is 0 but for rounding, which AdamW scales up
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-6), stepped.params, expected)
    assert metrics.diagnostics == {} and stepped.step == 1
    moved = learner.with_params(stepped, state.params, {})
    jax.tree.map(np.testing.assert_array_equal, moved.params, state.params)


def test_evaluation_is_of_every_character(data):
    """Against a plain mean over all windows, of a number that no chunk divides."""
    learner = learner_of("exact", data)
    state = jit(learner.init)(jax.random.key(0), jax.random.key(1))
    windows = jax.random.randint(jax.random.key(2), (53, 7), 0, 5)
    found = jit(learner.evaluations[0])(state, {}, windows)
    model = Transformer(1, 8, 2, 5, functools.partial(MCDense, ratio=1.0))
    logits = np.float64(model.apply({"params": state.params}, windows[:, :-1], exact=True))
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    of_label = np.take_along_axis(shares, np.asarray(windows)[:, 1:, None], -1)
    assert np.isclose(found["test_bits"], -np.log2(of_label).mean(), rtol=1e-5)
    assert np.isclose(found["test_accuracy"], (of_label[..., 0] == shares.max(-1)).mean(), rtol=1e-6)


def test_levels_change_as_training_goes(data):
    """Within a wide budget every layer keeps the least; measured every second step."""
    learner = learner_of("adaptive", data, dataclasses.replace(CONFIG, budgets=(1e9,)))
    state = jit(learner.init)(jax.random.key(0), jax.random.key(1))
    assert not any(jax.tree.leaves(state.tables.levels))
    step, batch = jit(learner.step), first_batch(learner, state, data)
    known = []
    for _ in range(3):
        state, metrics = step(state, *batch)
        assert len(metrics.diagnostics) == 6
        assert all(np.isclose(work.share, 0.1) for work in metrics.diagnostics.values())
        known.append(np.asarray(state.tables.batch))
    assert (known[0] == known[1]).all() and (known[1] != known[2]).all()
