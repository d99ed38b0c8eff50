"""Output layers of NNX that take labels: against the pure functions and Flax's own layers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from oracles import vectors

from jaxapprox.nnx import SampledSoftmaxDense, SampledSoftmaxEmbed, call_with_labels
from jaxapprox.softmax import draw, log_uniform, sampled_cross_entropy

CLASSES, FEATURES = 30, 5
X = jnp.asarray(vectors(0, 4, FEATURES))
LABELS = jnp.array([3, 0, 29, 7])
KEY = jax.random.key(7)
CANDIDATES = draw(KEY, log_uniform(CLASSES, 8), LABELS)


def rngs():
    return nnx.Rngs(params=0, sample=1)


def test_a_dense_layer():
    """Parameters and logits of `nnx.Linear`; with labels the loss of the pure functions, exact where deterministic."""
    layer, linear = (
        SampledSoftmaxDense(FEATURES, CLASSES, size=8, rngs=rngs()),
        nnx.Linear(FEATURES, CLASSES, rngs=rngs()),
    )
    chex.assert_trees_all_equal(nnx.state(layer, nnx.Param), nnx.state(linear, nnx.Param))
    np.testing.assert_array_equal(layer(X), linear(X))
    expected = sampled_cross_entropy(X, layer.kernel[...].T, layer.bias[...], LABELS, CANDIDATES)
    np.testing.assert_allclose(layer(X, labels=LABELS, rngs=KEY), expected, rtol=1e-6)
    assert np.abs(layer(X, labels=LABELS) - layer(X, labels=LABELS)).max() > 1e-3  # a draw for each call
    exact = optax.softmax_cross_entropy_with_integer_labels(linear(X), LABELS)
    np.testing.assert_allclose(layer(X, labels=LABELS, deterministic=True), exact, rtol=1e-5)
    layer.eval()
    np.testing.assert_allclose(layer(X[None], labels=LABELS[None]), exact[None], rtol=1e-5)
    np.testing.assert_array_equal(layer.top_k(X, 2)[1], np.argsort(-np.asarray(linear(X)), 1)[:, :2])


def test_an_embedding_is_an_output_layer():
    """Tied weights: lookups, logits and parameters of `nnx.Embed`; with labels the loss of the pure functions."""
    layer, embed = (
        SampledSoftmaxEmbed(CLASSES, FEATURES, size=8, rngs=rngs()),
        nnx.Embed(CLASSES, FEATURES, rngs=rngs()),
    )
    chex.assert_trees_all_equal(nnx.state(layer, nnx.Param), nnx.state(embed, nnx.Param))
    np.testing.assert_array_equal(layer(LABELS), embed(LABELS))
    np.testing.assert_array_equal(layer.attend(X), embed.attend(X))
    expected = sampled_cross_entropy(X, layer.embedding[...], None, LABELS, CANDIDATES)
    np.testing.assert_allclose(layer.attend(X, labels=LABELS, rngs=KEY), expected, rtol=1e-6)
    np.testing.assert_array_equal(layer.top_k(X, 2)[1], np.argsort(-np.asarray(embed.attend(X)), 1)[:, :2])


class Model(nnx.Module):
    """Calls its output layer without labels, within a transformation."""

    def __init__(self, kind, **settings):
        self.body, self.head = (
            nnx.Linear(FEATURES, FEATURES, rngs=rngs()),
            kind(FEATURES, CLASSES, **settings, rngs=rngs()),
        )

    @nnx.jit
    def __call__(self, x):
        return self.head(nnx.relu(self.body(x)))


def test_labels_reach_the_layer_of_a_model():
    """Through `nnx.jit` and `nnx.grad` as well: loss and gradients are those of a model that passes labels on."""
    model, plain = Model(SampledSoftmaxDense, size=None), Model(nnx.Linear)
    graph = nnx.graphdef(model)

    @nnx.jit
    def step(model, labels):
        return nnx.value_and_grad(lambda model: jnp.mean(call_with_labels(model, labels, X)))(model)

    @nnx.jit
    def plain_step(model, labels):
        loss_of = optax.softmax_cross_entropy_with_integer_labels
        return nnx.value_and_grad(lambda model: jnp.mean(loss_of(model(X), labels)))(model)

    for labels in (LABELS, LABELS[::-1]):  # of which the first are in no program
        actual, expected = step(model, labels), plain_step(plain, labels)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), actual, expected)
        np.testing.assert_allclose(jnp.mean(call_with_labels(model, labels, X)), expected[0], rtol=1e-5)
    np.testing.assert_allclose(model(X), plain(X), rtol=1e-6)
    assert nnx.graphdef(model) == graph


def test_bad_input_is_named():
    """By a line that names the layer's class."""
    layer = SampledSoftmaxDense(FEATURES, CLASSES, precision="highest", rngs=rngs())
    with pytest.raises(ValueError, match=r"^SampledSoftmaxDense: precision must be None where labels are given"):
        layer(X, labels=LABELS)
    layer = SampledSoftmaxDense(FEATURES, CLASSES, size=31, rngs=rngs())
    with pytest.raises(ValueError, match=r"^SampledSoftmaxDense: size must be an integer between 1 and 30"):
        layer(X, labels=LABELS)
    with pytest.raises(ValueError, match=r"^SampledSoftmaxDense: labels must be from 0 to 29"):
        layer(X, labels=LABELS + 1, deterministic=True)
    with pytest.raises(ValueError, match=r"^model must have one layer that takes labels, got 0"):
        call_with_labels(Model(nnx.Linear), LABELS, X)
