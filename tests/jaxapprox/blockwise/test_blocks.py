"""Blocks and lazy optimizers: against NumPy, entry by entry, and against optax where a block is everything."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from jaxapprox.adam import adam
from jaxapprox.blocks import EVERYTHING, Block, Where, add, add_up, put, take, vjp
from jaxapprox.lazy import apply_updates, lazy

OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "schedule": optax.adam(optax.linear_schedule(0.1, 0.0, 5), eps=1e-4),
    "adam": adam(0.1, eps=1e-4),
    "adamw": optax.adamw(0.1, weight_decay=0.1),
}
ROWS, COLUMNS = np.array([4, 0, 3], np.int32), np.array([1, 5], np.int32)
WHERES = {
    "everything": (EVERYTHING, np.ix_(range(6), range(7))),
    "rows": (Where(jnp.asarray(ROWS)), np.ix_(ROWS, range(7))),
    "columns": (Where(None, jnp.asarray(COLUMNS)), np.ix_(range(6), COLUMNS)),
    "both": (Where(jnp.asarray(ROWS), jnp.asarray(COLUMNS)), np.ix_(ROWS, COLUMNS)),
}


def matrix(seed, shape=(6, 7), dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", WHERES)
def test_blocks_are_read_and_written(name, dtype):
    """`take`, `add` and `put` are NumPy's indexing; the rest of the array stays as it was."""
    where, index = WHERES[name]
    array = matrix(0, dtype=dtype)
    block = take(array, where)
    np.testing.assert_array_equal(block, np.asarray(array)[index])
    values = matrix(1, block.shape, dtype)
    expected = np.array(array)
    expected[index] = values
    np.testing.assert_array_equal(put(array, Block(where, values)), expected)
    added = add(array, Block(where, values))
    assert added.dtype == dtype
    expected = np.array(array)
    expected[index] = array[index] + values
    np.testing.assert_array_equal(added, expected)


def test_unused_slots_write_nothing():
    """An id past the last row is read as something and never written, however often it occurs."""
    array, rows = matrix(0), jnp.array([2, 6, 6], jnp.int32)
    for where in (Where(rows), Where(rows, jnp.asarray(COLUMNS))):
        block = Block(where, jnp.full_like(take(array, where), 9.0))
        for function in (put, add):
            changed = np.flatnonzero(np.any(np.asarray(function(array, block) != array), 1))
            np.testing.assert_array_equal(changed, [2])


@pytest.mark.parametrize("name", WHERES)
def test_gradient_in_a_block_is_that_of_the_array(name):
    """`vjp` gives the entries of the dense gradient that lie in the block, and the argument's gradient."""
    where, index = WHERES[name]
    arrays, x = {"w": matrix(0), "b": matrix(2, (6,))}, matrix(1, (1, 1))
    wheres = {"w": where, "b": Where(where.rows)}

    def function(blocks, x):
        return jnp.sum(jnp.sin(blocks["w"] * x + blocks["b"][:, None]), 1)

    def dense(arrays, x):
        return function(jax.tree.map(take, arrays, wheres), x)

    y, pull = vjp(function, arrays, wheres, x)
    expected_y, expected_pull = jax.vjp(dense, arrays, x)
    g = matrix(3, y.shape)
    blocks, dx = pull(g)
    of_arrays, expected_dx = expected_pull(g)
    np.testing.assert_allclose(y, expected_y, rtol=1e-6)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-5)
    np.testing.assert_allclose(blocks["w"].values, np.asarray(of_arrays["w"])[index], rtol=1e-5)
    rest = np.ones((6, 7), bool)
    rest[index] = False
    assert not np.any(np.asarray(of_arrays["w"])[rest])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_everything_is_the_dense_optimizer(name):
    """Where every block is all of its array, updates and state are the optimizer's own, to the bit."""
    optimizer, lazily = OPTIMIZERS[name], lazy(OPTIMIZERS[name])
    params = {"w": matrix(0), "b": matrix(1, (6,))}
    own, state, own_state = params, optimizer.init(params), lazily.init(params)
    for step in range(4):
        gradient = {"w": matrix(10 + step), "b": matrix(20 + step, (6,))}
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        blocks = jax.tree.map(lambda g: Block(EVERYTHING, g), gradient)
        updates, own_state = lazily.update(blocks, own_state, own)
        own = apply_updates(own, updates)
    chex.assert_trees_all_equal((own, own_state), (params, state))


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_each_entry_has_a_history_of_its_own(name):
    """Every entry is as if trained alone, on the steps that touched it, but for counts, which see every step."""
    rng, params = np.random.default_rng(0), matrix(0)
    lazily = lazy(OPTIMIZERS[name])
    state, touched = lazily.init(params), []
    own = params
    for step in range(6):
        rows, columns = rng.permutation(6)[:3].astype(np.int32), rng.permutation(7)[:4].astype(np.int32)
        gradient = np.float32(rng.normal(size=(3, 4)))
        updates, state = lazily.update(Block(Where(jnp.asarray(rows), jnp.asarray(columns)), gradient), state, own)
        own = apply_updates(own, updates)
        touched.append((step, rows, columns, gradient))
    for i in range(6):
        for j in range(7):
            value, m, v = float(params[i, j]), 0.0, 0.0
            for step, rows, columns, gradient in touched:
                if i in rows and j in columns:
                    g = float(gradient[list(rows).index(i), list(columns).index(j)])
                    value, m, v = one_step(name, value, m, v, g, step + 1)
            np.testing.assert_allclose(own[i, j], value, rtol=1e-4, atol=1e-5)


def one_step(name, value, m, v, g, count):
    """An optimizer's step on one number."""
    if name == "sgd":
        return value - 0.1 * g, m, v
    if name == "momentum":
        m = 0.9 * m + g
        return value - 0.1 * m, m, v
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    eps, decay = (1e-4, 0.0) if name == "adam" else (1e-8, 0.1)
    corrected = (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + eps)
    return value - 0.1 * (corrected + decay * value), m, v


@pytest.mark.parametrize("rate", [1e-2, optax.linear_schedule(1e-2, 0.0, 4)])
def test_adam_is_that_of_optax(rate):
    """Equal to optax's but for rounding, in updates and state, also in its first steps and at zero gradients."""
    ours, theirs = adam(rate, eps=1e-4), optax.adam(rate, eps=1e-4)
    params = matrix(0)
    state, expected_state = ours.init(params), theirs.init(params)
    for step in range(5):
        gradient = matrix(step).at[0].set(0) * 10.0 ** (step - 3)
        updates, state = ours.update(gradient, state)
        expected, expected_state = theirs.update(gradient, expected_state)
        np.testing.assert_allclose(updates, expected, rtol=1e-5, atol=1e-9)
    chex.assert_trees_all_close(state, expected_state[0], rtol=1e-6)


def one_lazy_step(optimizer, carry, rows):
    """A step whose gradient hangs on the parameters."""
    params, state = carry
    where = Where(rows, jnp.asarray(COLUMNS))
    updates, state = optimizer.update(Block(where, jnp.sin(take(params, where))), state)
    return apply_updates(params, updates), state


def test_same_under_jit_vmap_scan_and_checkpoint():
    """Steps for two arrays at once, in a loop and rematerialised, are the steps of each."""
    optimizer = lazy(adam(0.1))
    rows = jnp.stack([jnp.asarray(np.random.default_rng(i).permutation(6)[:3], jnp.int32) for i in range(5)])
    both = jnp.stack([matrix(0), matrix(1)])

    def in_turn(params):
        carry = params, optimizer.init(params)
        for own in rows:
            carry = jax.jit(lambda carry, own: one_lazy_step(optimizer, carry, own))(carry, own)
        return carry

    def scanned(params):
        step = jax.checkpoint(lambda carry, own: (one_lazy_step(optimizer, carry, own), None))
        return lax.scan(step, (params, optimizer.init(params)), rows)[0]

    mapped = jax.jit(jax.vmap(scanned))(both)
    for i in range(2):
        expected = in_turn(both[i])
        own = jax.tree.map(lambda a, i=i: a[i], mapped)
        chex.assert_trees_all_close(own, expected, rtol=1e-5, atol=1e-6)


def test_a_step_is_in_place():
    """Parameters and state alias their inputs, and no other array of their size is made."""
    optimizer, size = lazy(adam(0.1)), 10_000 * 7 * 4
    params = jnp.zeros((10_000, 7))
    step = jax.jit(lambda carry, rows: one_lazy_step(optimizer, carry, rows), donate_argnums=0)
    memory = step.lower((params, optimizer.init(params)), jnp.asarray(ROWS)).compile().memory_analysis()
    assert memory.alias_size_in_bytes >= 3 * size
    copies = 0 if jax.__version_info__ >= (0, 12) else 3  # as for active rows
    other = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    assert other < 10_000 + copies * size


@pytest.mark.parametrize("units", [10, 20_000])
def test_duplicates_are_added_up(units):
    """By a table for few units, by a sort for many: each row has the sum of its values, other ids write nothing."""
    rng = np.random.default_rng(0)
    ids = rng.integers(-3, 13, size=17)
    values = rng.normal(size=(17, 3)).astype(np.float32)
    expected = np.zeros((units, 3))
    for i, row in zip(ids, values, strict=True):
        if 0 <= i < units:
            expected[i] += row
    block = jax.jit(add_up, static_argnums=2)(jnp.asarray(ids), jnp.asarray(values), units)
    np.testing.assert_allclose(add(jnp.zeros((units, 3)), block), expected, rtol=1e-5, atol=1e-6)
    first_of = [i if 0 <= i < units and i not in ids[:k] else units + k for k, i in enumerate(ids)]
    np.testing.assert_array_equal(block.where.rows, first_of)
    assert not np.any(np.asarray(block.values)[np.asarray(first_of) >= units])
    both = jax.vmap(lambda i, v: add_up(i, v, units))(jnp.stack([ids, ids[::-1]]), jnp.stack([values, values[::-1]]))
    chex.assert_trees_all_equal(jax.tree.map(lambda a: a[0], both), block)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ids", (jnp.zeros((2, 1), jnp.int32), jnp.zeros((2, 3)), 5)),
        ("ids", (jnp.zeros(2), jnp.zeros((2, 3)), 5)),
        ("values", (jnp.zeros(2, jnp.int32), {"a": jnp.zeros((3, 3))}, 5)),
        ("units", (jnp.zeros(2, jnp.int32), jnp.zeros((2, 3)), 0)),
    ],
)
def test_what_can_not_be_added_up_is_named(name, arguments):
    with pytest.raises(ValueError, match=f"^{name} must "):
        add_up(*arguments)
