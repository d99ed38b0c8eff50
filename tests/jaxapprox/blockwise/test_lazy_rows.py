"""Lazy optimizers on rows that may be named more than once: against optax on dense gradients, and against NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from jaxapprox import active_rows
from jaxapprox.blocks import Block, Where, put
from jaxapprox.lazy import apply_updates, lazy, rowwise_adagrad

OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adagrad": optax.adagrad(0.1),
    "adam": optax.adam(0.1, eps=1e-4),
    "rowwise adagrad": rowwise_adagrad(0.1),
}


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_row_touched_is_the_dense_optimizer(name):
    """Embeddings in and classes out, most of them named twice: the same training as with autodiff's dense gradients."""
    optimizer, lazily = OPTIMIZERS[name], lazy(OPTIMIZERS[name])
    params = {"words": normal(0, 6, 3), "weights": normal(1, 7, 3), "bias": normal(2, 7)}
    words, classes = jnp.array([[0, 1], [2, 3], [4, 5], [0, 0]]), jnp.array([6, 5, 4, 3, 2, 1, 0, 3, 3])

    def loss(params):
        x = jnp.sum(params["words"][words], 1)
        return jnp.sum(jnp.sin(x @ params["weights"][classes].T + params["bias"][None, classes]))

    @jax.jit
    def dense_step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def lazy_step(params, state):
        values, of_words = active_rows.embed(params["words"], words)
        x, rows = jnp.sum(values, 1), jnp.tile(classes, (4, 1))
        y = active_rows.forward(x, params["weights"], params["bias"], rows)
        dx, gradient = active_rows.pull_back(x, params["weights"], rows, jnp.cos(y))
        blocks = active_rows.to_blocks([gradient._replace(ids=classes)], 7)
        blocks["words"] = of_words(jnp.broadcast_to(dx[:, None], values.shape))
        updates, state = lazily.update(blocks, state)
        return apply_updates(params, updates), state

    dense, own = ((params, optimizer.init(params)) for _ in range(2))
    for _ in range(4):
        dense, own = dense_step(*dense), lazy_step(*own)
    chex.assert_trees_all_close(own, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["adagrad", "rowwise adagrad"])
def test_adagrad_squares_the_sum_of_duplicates(name):
    """Row by row in NumPy, over steps that name rows twice; rows that no step names keep value and accumulator."""
    rng, lazily = np.random.default_rng(0), lazy(OPTIMIZERS[name])
    params = normal(0, 8, 3)
    state, own = lazily.init(params), params
    expected = np.float64(params)
    sums = np.full((8, 3 if name == "adagrad" else 1), 0.1)
    for _ in range(3):
        ids, g = rng.integers(0, 6, size=9), np.float32(rng.normal(size=(9, 3)))
        _, pull_back = active_rows.embed(own, jnp.asarray(ids))
        updates, state = lazily.update(pull_back(jnp.asarray(g)), state)
        own = apply_updates(own, updates)
        for row in np.unique(ids):
            total = np.sum(np.float64(g)[ids == row], 0)
            sums[row] += total**2 if name == "adagrad" else np.mean(total**2)
            expected[row] -= 0.1 * total / np.sqrt(sums[row] + 1e-7)
    np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)
    (accumulators,) = (leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 2)
    np.testing.assert_allclose(accumulators, sums, rtol=1e-4)
    np.testing.assert_array_equal(own[6:], params[6:])


def test_a_scan_of_steps_is_in_place():
    """Weights and accumulators are carried without a copy; no other array is as large."""
    optimizer, units, features = lazy(rowwise_adagrad(0.1)), 10_000, 64

    def step(carry, ids):
        words, state = carry
        values, pull_back = active_rows.embed(words, ids)
        updates, state = optimizer.update(pull_back(values), state)
        return (apply_updates(words, updates), state), jnp.sum(values)

    words = jnp.zeros((units, features))
    train = jax.jit(lambda carry, ids: lax.scan(step, carry, ids), donate_argnums=0)
    memory = train.lower((words, optimizer.init(words)), jnp.zeros((5, 20), jnp.int32)).compile().memory_analysis()
    assert memory.alias_size_in_bytes == units * (features + 1) * 4
    assert memory.temp_size_in_bytes < units * features * 4 / 2


def test_ids_outside_of_an_embedding():
    """They look zeros up and write nothing, negative ones too; NumPy's last rows are not theirs."""
    words, ids = normal(0, 4, 3), jnp.array([[-1, 2], [4, 2]])
    values, pull_back = active_rows.embed(words, ids)
    np.testing.assert_array_equal(values, [[np.zeros(3), words[2]], [np.zeros(3), words[2]]])
    gradient = put(jnp.zeros((4, 3)), pull_back(jnp.ones((2, 2, 3))))
    np.testing.assert_array_equal(gradient, [[0] * 3, [0] * 3, [2] * 3, [0] * 3])


def test_bad_arguments_are_named():
    words = jnp.ones((4, 3))
    with pytest.raises(ValueError, match=r"^weights must "):
        active_rows.embed(words[0], jnp.array([1]))
    with pytest.raises(ValueError, match=r"^g must "):
        active_rows.embed(words, jnp.array([1]))[1](jnp.ones((2, 3)))
    optimizer, columns = lazy(rowwise_adagrad(0.1)), jnp.array([0, 1])
    with pytest.raises(ValueError, match=r"^updates must have whole rows"):
        optimizer.update(Block(Where(None, columns), jnp.ones((4, 2))), optimizer.init(words))
