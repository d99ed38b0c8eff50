"""A converted Linen model in the places where Flax's users put a model."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.errors import InvalidRngError
from flax_models import VAE
from quick_compilation import once

from jaxapprox import ALSH, MC, uniform
from jaxapprox.linen import convert

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (2, 16))
MODEL = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(24), nn.relu, nn.Dense(4)])
SAMPLED = convert(MODEL, [("*", MC(0.5, uniform))], X)


class Twice(nn.Module):
    """A model with another in it, which it calls twice."""

    inner: nn.Module

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(self.inner(x) + self.inner(x))


class Named(nn.Module):
    """Layers called by the names of their arguments, one of them twice; one gets its equation in the call."""

    @nn.compact
    def __call__(self, x):
        shared = nn.Dense(16, name="shared")
        return nn.Einsum((16, 4), name="einsum")(einsum_str="bd,dk->bk", inputs=shared(inputs=shared(inputs=x)))


def test_variables_are_the_models():
    """By all that makes them."""
    chex.assert_trees_all_equal(SAMPLED.init(KEY, X), MODEL.init(KEY, X))
    chex.assert_trees_all_equal(SAMPLED.init_with_output(KEY, X), MODEL.init_with_output(KEY, X))
    shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
    chex.assert_trees_all_equal(SAMPLED.lazy_init(KEY, shape), MODEL.lazy_init(KEY, shape))
    assert SAMPLED.tabulate(KEY, X) == MODEL.tabulate(KEY, X)
    table = nn.tabulate(SAMPLED, KEY)(X).replace("Converted Summary ", "Sequential Summary")
    assert [line.split() for line in table.splitlines()] == [
        line.split() for line in nn.tabulate(MODEL, KEY)(X).splitlines()
    ]


@pytest.mark.parametrize("method", [MC(), ALSH(active=0.5)], ids=["sampled", "hashed"])
def test_a_layer_is_recorded_once(method):
    """As the model's own: intermediates, perturbations, and calls by argument names of layers called twice."""

    class Perturbed(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4)(self.perturb("hidden", nn.Dense(16, name="dense")(x)))

    sampled = convert(Perturbed(), [("dense", method)], X)
    variables = once(sampled.init, KEY, X)
    options = dict(capture_intermediates=True, mutable=["intermediates"])
    (_, seen), (_, expected) = (
        once(m.apply, variables, X, rngs={"sample": KEY}, **options) for m in (sampled, Perturbed())
    )
    assert jax.tree.map(jnp.shape, seen) == jax.tree.map(jnp.shape, expected)


def test_calls_by_names():
    sampled = convert(Named(), [("*", MC())], X, keep_ends=False)
    assert set(sampled.report.methods) == {"shared", "einsum"}
    assert once(sampled.apply, once(Named().init, KEY, X), X, rngs={"sample": KEY}).shape == (2, 4)


def test_one_key_serves_all_streams():
    """As in Flax: dropout draws what it draws in the model, and the sampled layers by a key of their own."""
    variables = once(MODEL.init, KEY, X)
    y = once(SAMPLED.apply, variables, X, rngs=KEY)
    np.testing.assert_array_equal(y, once(SAMPLED.apply, variables, X, rngs=KEY))
    assert np.any(y != once(SAMPLED.apply, variables, X, rngs=jax.random.PRNGKey(1)))
    assert np.any(y != once(MODEL.apply, variables, X))


def test_bound():
    """Interactively: it draws anew in each call, and has the model's methods, converted too."""
    bound = SAMPLED.bind(once(MODEL.init, KEY, X), rngs={"sample": KEY})
    assert np.any(bound(X) != bound(X))
    vae = convert(VAE(), [("decoder/*", MC(1.0))], X.repeat(2, 1)[:, :20], keep_ends=False)
    variables = once(VAE().init, {"params": KEY, "latent": KEY}, X.repeat(2, 1)[:, :20])
    z = jnp.ones((2, 4))
    expected = once(VAE().apply, variables, z, method="generate")
    np.testing.assert_allclose(vae.bind(variables, rngs={"sample": KEY}).generate(z), expected, rtol=1e-6)
    np.testing.assert_allclose(
        once(vae.apply, variables, z, rngs={"sample": KEY}, method="generate"), expected, rtol=1e-6
    )
    with pytest.raises(InvalidRngError, match=r"^decoder/layers_2 \(Dense\) needs the RNG stream 'sample'"):
        vae.bind(variables).generate(z)
    with pytest.raises(AttributeError, match="no attribute or method 'decoder'"):
        _ = vae.decoder


def test_part_of_another_model():
    """Where the model would be: the same variables, one record of each layer, draws of its own in each call."""
    exact, sampled = Twice(MODEL), Twice(SAMPLED)
    variables = once(exact.init, KEY, X)
    chex.assert_trees_all_equal(once(sampled.init, KEY, X), variables)
    options = dict(capture_intermediates=True, mutable=["intermediates"])
    (_, seen), (_, expected) = (once(m.apply, variables, X, rngs={"sample": KEY}, **options) for m in (sampled, exact))
    assert jax.tree.map(jnp.shape, seen) == jax.tree.map(jnp.shape, expected)
    first, second = seen["intermediates"]["inner"]["__call__"]
    assert np.any(first != second)
    with pytest.raises(InvalidRngError, match=r"^inner/layers_2 \(Dense\) needs the RNG stream 'sample'"):
        once(sampled.apply, variables, X)


def test_hashed_layers_are_initialised_by_the_models_own_streams():
    """Also if they are to hash in evaluation."""
    sampled = convert(MODEL, [("layers_2", ALSH(active=0.2, hashed_evaluation=True))], X)
    (y, variables), (expected, own) = (m.init_with_output(KEY, X) for m in (sampled, MODEL))
    chex.assert_trees_all_equal(variables["params"], own["params"])
    np.testing.assert_array_equal(y, expected)
    assert sampled.apply(variables, X, rngs={"sample": KEY}).shape == (2, 4)


@pytest.mark.parametrize("box", [nn.with_partitioning, nn.with_logical_partitioning])
def test_boxed_parameters(box):
    """Of a model that says how they are split among devices; also as NumPy arrays."""
    init = box(nn.initializers.lecun_normal(), (None, "model"))
    model = nn.Sequential([nn.Dense(n, kernel_init=init) for n in (32, 24, 4)])
    sampled = convert(model, [("*", MC(1.0))], X, keep_ends=False)
    variables = once(sampled.init, KEY, X)
    chex.assert_trees_all_equal(variables, once(model.init, KEY, X))
    expected = once(model.apply, variables, X)
    for form in (variables, jax.tree.map(np.asarray, variables), nn.meta.unbox(variables)):
        np.testing.assert_allclose(once(sampled.apply, form, X, rngs={"sample": KEY}), expected, rtol=1e-6)


@pytest.mark.skipif(jax.__version_info__ < (0, 10), reason="there nn.jit's classes can't tell the models apart")
def test_programs_that_nn_jit_keeps_are_those_of_one_model():
    """The exact model stays exact, and another conversion finds the layers, though a class compiled them before."""
    compiled = nn.jit(nn.Dense)

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return compiled(4)(compiled(32)(compiled(32)(x)))

    x = jax.random.normal(jax.random.key(0), (4, 16))
    variables = Model().init(jax.random.key(1), x)
    exact = Model().apply(variables, x)
    for ratio in (0.5, 0.25):
        sampled = convert(Model(), [("*", MC(ratio))], x)
        assert len(sampled.report.methods) == 1
        y = sampled.apply(variables, x, rngs={"sample": jax.random.key(2)})
        assert bool(jnp.any(y != exact))
        np.testing.assert_array_equal(Model().apply(variables, x), exact)
