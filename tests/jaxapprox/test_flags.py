"""Public functions and their gradients under JAX's flags: traced under each, and run where a flag watches values.

All tests have `jax_numpy_rank_promotion=raise`: see conftest.py.
"""

import contextlib
import functools

import chex
import jax
import numpy as np
import pytest
from forked import ROOT
from public_calls import CALLS, ONE_OF_EACH_KIND, with_gradients
from quick_compilation import jit

KEY = jax.random.key(3)

# What a flag is set to, and the keys that go with it.
FLAGS = {
    "jax_numpy_dtype_promotion=strict": (lambda: jax.numpy_dtype_promotion("strict"), jax.random.key),
    "jax_check_tracer_leaks": (jax.checking_leaks, jax.random.key),
    "jax_default_prng_impl=rbg": (lambda: jax.default_prng_impl("rbg"), jax.random.PRNGKey),  # and raw keys
}


@functools.cache
def without_flags(name):
    return jax.eval_shape(with_gradients(CALLS[name]), KEY, *CALLS[name].arrays)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("flag", FLAGS)
def test_traced(flag, name):
    """The flag changes neither a shape nor a dtype."""
    call, (setting, make_key) = CALLS[name], FLAGS[flag]
    expected = without_flags(name)
    with setting():
        assert jax.eval_shape(with_gradients(call), make_key(3), *call.arrays) == expected


@contextlib.contextmanager
def x64():
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


def doubled(leaf):
    """A float32 array or its type in float64, and whatever else as it is."""
    if leaf.dtype != np.float32:
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, np.float64) if isinstance(leaf, jax.ShapeDtypeStruct) else np.float64(leaf)


@pytest.mark.parametrize("name", CALLS)
def test_x64(name):
    """Arrays of 32 bits give what they give without the flag, and those of 64 bits 64 bits; integers stay int32.

    `Diagnostics` are float32 whatever they are of.
    """
    call, expected = CALLS[name], without_flags(name)
    with x64():
        assert jax.eval_shape(with_gradients(call), KEY, *call.arrays) == expected
        actual = jax.eval_shape(with_gradients(call), KEY, *jax.tree.map(doubled, call.arrays))
    assert actual == (expected if name == "diagnose" else jax.tree.map(doubled, expected))


@pytest.mark.parametrize("name", [n for n, call in CALLS.items() if not call.has_gradient or n in ONE_OF_EACH_KIND])
def test_run(name):
    """With `jax_debug_nans` and `jax_transfer_guard=disallow`, compiled: nothing is NaN, nor sent from the host."""
    call = CALLS[name]
    arguments = jax.device_put((KEY, *call.arrays))
    with jax.debug_nans(True), jax.transfer_guard("disallow"):
        result = jit(with_gradients(call))(*arguments)
    chex.assert_tree_all_finite(result)


def test_the_docs_name_them():
    assert jax.config.jax_numpy_rank_promotion == "raise"
    text = (ROOT / "docs" / "drop_in.md").read_text()
    for flag in (
        *FLAGS,
        "jax_numpy_rank_promotion=raise",
        "jax_enable_x64",
        "jax_debug_nans",
        "jax_transfer_guard=disallow",
    ):
        assert f"`{flag}`" in text, flag
