"""The public functions give the same compiled, not compiled, with arrays on a device or not, and under `pmap`."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from absl.testing import parameterized
from oracles import vectors

from jaxapprox import MC, SAMPLERS, active_rows, conv, inclusion_probabilities, mc_conv, mc_dense, predicted_variance
from jaxapprox.adaptive_dropout import adaptive_dropout
from jaxapprox.linen import MCConv
from jaxapprox.lsh import active_dense, active_set, build, collisions, cosines, query_codes, shared_active_set

flags.FLAGS["chex_skip_pmap_variant_if_single_device"].value = False

KEY = np.asarray(jax.random.PRNGKey(3))  # a raw key: it can be anywhere that an array can
X, KERNEL, BIAS = vectors(0, 6, 10), vectors(1, 10, 40), vectors(2, 1, 40)[0]
IMAGES, WINDOW = vectors(3, 2 * 5 * 5, 8).reshape(2, 5, 5, 8), vectors(4, 3 * 3 * 8, 6).reshape(3, 3, 8, 6)
SCORES = np.abs(vectors(5, 1, 12)[0])
TABLES = jax.tree.map(np.asarray, build(jax.random.key(0), KERNEL.T))
IDS = np.stack([np.random.default_rng(i).permutation(40)[:4] for i in range(6)]).astype(np.int32)

# A function of arrays alone, and its arguments.
CALLS = {
    **{
        f"mc_conv {unit} {mode}": (functools.partial(mc_conv, ratio=0.5, unit=unit, mode=mode), (KEY, IMAGES, WINDOW))
        for unit in ("channel", "edge")
        for mode in ("forward", "backward")
    },
    "mc_dense": (functools.partial(mc_dense, ratio=0.5), (KEY, X, KERNEL)),
    "conv": (functools.partial(conv, strides=2), (IMAGES, WINDOW)),
    **{name: (functools.partial(sampler, num_samples=4), (KEY, SCORES)) for name, sampler in SAMPLERS.items()},
    "inclusion_probabilities": (functools.partial(inclusion_probabilities, num_samples=4), (SCORES,)),
    "predicted_variance": (lambda scores: predicted_variance(SAMPLERS["systematic"], scores, 4), (SCORES,)),
    "build": (build, (KEY, KERNEL.T)),
    "active_set": (functools.partial(active_set, size=5), (KEY, TABLES, X)),
    "active_set by counts": (functools.partial(active_set, size=5, select="count"), (KEY, TABLES, X)),
    "shared_active_set": (functools.partial(shared_active_set, size=5), (KEY, TABLES, X)),
    "query_codes": (query_codes, (TABLES, X)),
    "collisions": (collisions, (TABLES, X)),
    "cosines": (cosines, (TABLES, KERNEL.T, X)),
    "active_dense": (active_dense, (X, KERNEL, BIAS, IDS)),
    "active_rows": (lambda *arrays: active_rows.forward(*map(jnp.asarray, arrays)), (X, KERNEL.T, BIAS, IDS)),
    "adaptive_dropout": (lambda key, z: adaptive_dropout(key, z, jax.nn.relu, alpha=1.0, beta=0.0), (KEY, X)),
}


class SameEverywhere(chex.TestCase):
    """Each call in each variant against the compiled one: integers to the bit, numbers to rounding."""

    @chex.variants(with_jit=True, without_jit=True, with_device=True, without_device=True, with_pmap=True)
    @parameterized.named_parameters(*((name.replace(" ", "_"), name) for name in CALLS))
    def test_same(self, name):
        function, arguments = CALLS[name]
        actual, expected = self.variant(function)(*arguments), jax.jit(function)(*arguments)
        chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
        chex.assert_tree_all_finite(actual)
        chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(autouse=True)
def no_traces_yet():
    """Chex counts traces by a function's source, over all tests of a process."""
    chex.clear_trace_counter()


def varied(array, i):
    """Other keys and other numbers, the same ids and codes."""
    return array + np.uint32(i) if array.dtype == np.uint32 else array * (1 + i) if array.dtype.kind == "f" else array


@pytest.mark.parametrize("name", CALLS)
def test_traced_once(name):
    """Neither a key nor a value compiles a function again."""
    function, arguments = CALLS[name]
    compiled = jax.jit(chex.assert_max_traces(lambda *arguments: function(*arguments), n=1))
    for i in range(3):
        compiled(*jax.tree.map(functools.partial(varied, i=i), arguments))


def test_a_layer_draws_once_in_each_trace():
    """A training step is traced once whatever the keys, and in it the sampler once, forward and backward."""
    sampler = chex.assert_max_traces(SAMPLERS["systematic"], n=1)
    layer = MCConv(6, (3, 3), ratio=0.5, sampler=sampler, use_bias=False)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(kernel, key):
        def loss(kernel):
            y = layer.apply({"params": {"kernel": kernel}}, IMAGES, deterministic=False, rngs={"sample": key})
            return jnp.sum(jnp.square(y))

        return kernel - 0.01 * jax.grad(loss)(kernel)

    kernel = jnp.asarray(WINDOW)
    for key in jax.random.split(jax.random.key(0), 3):
        kernel = step(kernel, key)
    chex.assert_tree_all_finite(kernel)
    assert np.any(np.asarray(kernel) != WINDOW)


def test_equal_settings_share_a_program():
    """`MC` is hashable and equal by value: what is compiled for one serves another."""

    @functools.partial(jax.jit, static_argnums=0)
    @chex.assert_max_traces(n=1)
    def estimate(method, key):
        return mc_dense(key, X, KERNEL, ratio=method.ratio, sampler=method.sampler, mode=method.mode)

    for seed in range(2):
        estimate(MC(ratio=0.25, mode="backward"), jax.random.key(seed))
