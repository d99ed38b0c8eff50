"""Public functions, with their gradients, under JAX's transformations: all are traced, one of each kind computed."""

import functools
import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from public_calls import CALLS, DIFFERENTIABLE, ONE_OF_EACH_KIND, Call, floating, with_gradients
from quick_compilation import jit

from jaxapprox import MC, mc_conv, mc_dense, uniform
from jaxapprox.linen import MCConv

KEYS = jax.random.split(jax.random.key(3), 2)


def over_keys(function):
    return lambda keys, *arrays: jax.vmap(lambda key: function(key, *arrays))(keys)


def scanned(function):
    return lambda keys, *arrays: jax.lax.map(lambda key: jax.checkpoint(function)(key, *arrays), keys)


OVER_KEYS = {"vmap": over_keys, "scan of jax.checkpoint": scanned}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("transform", OVER_KEYS)
def test_traced_over_keys(transform, name):
    call = CALLS[name]
    one = jax.eval_shape(with_gradients(call), KEYS[0], *call.arrays)
    actual = jax.eval_shape(OVER_KEYS[transform](with_gradients(call)), KEYS, *call.arrays)
    assert actual == jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), one)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_computed_over_keys(name):
    """All keys at once give what they give one after another."""
    call = CALLS[name]
    at_once, in_turn = (jit(transform(with_gradients(call)))(KEYS, *call.arrays) for transform in OVER_KEYS.values())
    chex.assert_trees_all_close(at_once, in_turn, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CALLS)
def test_traced_over_everything(name):
    """As for an ensemble: other weights, examples and keys each."""
    call = CALLS[name]
    stacked = jax.tree.map(lambda array: np.stack([array, array]), call.arrays)
    one = jax.eval_shape(with_gradients(call), KEYS[0], *call.arrays)
    actual = jax.eval_shape(jax.vmap(with_gradients(call)), KEYS, *stacked)
    assert actual == jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), one)


def loss_of(call: Call):
    """The sum of squares of what a call returns, as a function of its floating arrays, and these."""
    places = floating(call.arrays)

    def loss(*values):
        new = dict(zip(places, values, strict=True))
        y = call.function(KEYS[0], *(new.get(i, array) for i, array in enumerate(call.arrays)))
        return jax.tree.reduce(operator.add, jax.tree.map(lambda leaf: jnp.sum(jnp.square(leaf)), y))

    return loss, [call.arrays[i] for i in places]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_mode(name):
    """Tangents are as long as the values; what can't be is found when a program is lowered."""
    loss, values = loss_of(CALLS[name])

    def tangents(*values):
        return jax.jvp(loss, values, values), jax.linearize(loss, *values)[1](*values)

    jax.jit(tangents).lower(*values)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_hessian(name):
    loss, values = loss_of(CALLS[name])
    jax.eval_shape(jax.hessian(loss, tuple(range(len(values)))), *values)


@pytest.mark.parametrize(("unit", "block_size"), [("channel", None), ("edge", None), ("block", 2)])
def test_tangents_are_those_of_the_estimate(unit, block_size):
    """With `uniform`, which scores do not move, an estimate is linear in the kernel and its square quadratic."""
    x, kernel = CALLS["conv"].arrays
    step = 0.5 * kernel[::-1]

    def estimate(kernel):
        return mc_conv(KEYS[0], x, kernel, ratio=0.5, sampler=uniform, unit=unit, block_size=block_size)

    @jit
    def check(kernel, step):
        gradient = jax.grad(lambda kernel: jnp.sum(jnp.square(estimate(kernel))))
        first = jax.jvp(estimate, (kernel,), (step,))[1], estimate(kernel + step) - estimate(kernel)
        second = jax.jvp(gradient, (kernel,), (step,))[1], gradient(kernel + step) - gradient(kernel)
        return first, second

    for actual, expected in check(kernel, step):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["mc_conv, unit channel, mode straight_through", "active_rows", "linen.ALSHDense"])
def test_compiled_once_and_as_not_compiled(name):
    """Neither a key nor a value compiles a function again, and it gives what it gives outside of `jit`."""
    call = CALLS[name]
    chex.clear_trace_counter()  # which counts by a function's source
    compiled = jit(chex.assert_max_traces(lambda *arguments: call.function(*arguments), n=1))
    for i, key in enumerate(KEYS):
        arrays = jax.tree.map(lambda a, i=i: a * np.float32(1 + i) if a.dtype == np.float32 else a, call.arrays)
        actual = compiled(key, *arrays)
    expected = call.function(key, *jax.tree.map(jnp.asarray, arrays))
    chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_layer_draws_once_in_each_trace():
    """A training step is traced once whatever the keys, and in it the sampler once, forward and backward."""
    x, kernel = CALLS["conv"].arrays
    chex.clear_trace_counter()
    sampler = chex.assert_max_traces(lambda *arguments: uniform(*arguments), n=1)
    layer = MCConv(4, (3, 3), ratio=0.5, sampler=sampler, use_bias=False)

    @jit
    @chex.assert_max_traces(n=1)
    def step(kernel, key):
        def loss(kernel):
            y = layer.apply({"params": {"kernel": kernel}}, x, deterministic=False, rngs={"sample": key})
            return jnp.sum(jnp.square(y))

        return kernel - 0.01 * jax.grad(loss)(kernel)

    new = jnp.asarray(kernel)
    for key in KEYS:
        new = step(new, key)
    chex.assert_tree_all_finite(new)
    assert np.any(np.asarray(new) != kernel)


def test_equal_settings_share_a_program():
    """`MC` is hashable and equal by value: what is compiled for one serves another."""
    x, kernel = CALLS["mc_dense, mode forward"].arrays
    chex.clear_trace_counter()

    @functools.partial(jit, static_argnums=0)
    @chex.assert_max_traces(n=1)
    def estimate(method, key):
        return mc_dense(key, x, kernel, ratio=method.ratio, sampler=method.sampler, mode=method.mode)

    for key in KEYS:
        estimate(MC(ratio=0.25, mode="backward"), key)
