"""Output layers of Linen that take labels: against the pure functions, Flax's own layers, optax and NumPy."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.errors import InvalidRngError
from jax import lax
from oracles import vectors
from quick_compilation import jit, once

from jaxapprox.active_rows import to_blocks
from jaxapprox.blocks import put
from jaxapprox.linen import SampledSoftmaxDense, SampledSoftmaxEmbed
from jaxapprox.softmax import by_frequency, draw, log_uniform, mixture, sampled_rows, uniform

CLASSES, FEATURES = 30, 5
X = jnp.asarray(vectors(0, 4, FEATURES))
LABELS = jnp.array([3, 0, 29, 7])
LAYER = SampledSoftmaxDense(CLASSES, size=8)
VARIABLES = {"params": {"kernel": jnp.asarray(vectors(1, FEATURES, CLASSES)), "bias": jnp.linspace(-1, 1, CLASSES)}}
WEIGHTS, BIAS = VARIABLES["params"]["kernel"].T, VARIABLES["params"]["bias"]
RNGS = {"sample": jax.random.key(7)}


def sampled(layer=LAYER, x=X, labels=LABELS, rngs=RNGS, **options):
    return layer.apply(VARIABLES, x, labels, deterministic=False, rngs=rngs, **options)


@pytest.mark.parametrize(
    ("settings", "proposal"),
    [
        ({"size": 8}, log_uniform(CLASSES, 8)),
        ({"proposal": by_frequency(np.arange(1, 31), 6), "per_example": True}, by_frequency(np.arange(1, 31), 6)),
        ({"size": 8, "correct_labels": True}, log_uniform(CLASSES, 8)),
    ],
)
def test_a_sampled_loss_is_the_pure_functions(settings, proposal):
    """With the layer's key: the same loss, and by autodiff the gradients that `sampled_rows` gives by rows."""
    layer = SampledSoftmaxDense(CLASSES, **settings)
    key = layer.bind(VARIABLES, rngs=RNGS).make_rng("sample")
    candidates = draw(key, proposal, LABELS, per_example=layer.per_example)
    options = {"correct_labels": layer.correct_labels}

    @jit
    def by_autodiff(params, x):
        call = functools.partial(layer.apply, labels=LABELS, deterministic=False, rngs=RNGS)
        loss, pull_back = jax.vjp(lambda params, x: call({"params": params}, x), params, x)
        return loss, pull_back(jnp.full(4, 0.25))

    @jit
    def by_rows(candidates):
        loss, pull_back = sampled_rows(X, WEIGHTS, BIAS, LABELS, candidates, **options)
        dx, rows = pull_back(jnp.full(4, 0.25))
        return loss, dx, to_blocks(rows, CLASSES)

    loss, (dparams, dx) = by_autodiff(VARIABLES["params"], X)
    expected, expected_dx, blocks = by_rows(candidates)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dparams["kernel"].T, put(jnp.zeros_like(WEIGHTS), blocks["weights"]), atol=1e-6)
    np.testing.assert_allclose(dparams["bias"], put(jnp.zeros_like(BIAS), blocks["bias"]), atol=1e-6)


def test_it_is_a_dense_layer():
    """Variables of `init`, with labels or without, and logits are those of `nn.Dense` to the bit: checkpoints move."""
    dense, key = nn.Dense(CLASSES), jax.random.key(1)
    expected = once(dense.init, key, X)
    chex.assert_trees_all_equal(once(LAYER.init, key, X), expected)
    chex.assert_trees_all_equal(once(LAYER.init, key, X, LABELS, deterministic=False), expected)
    np.testing.assert_array_equal(once(LAYER.apply, VARIABLES, X), once(dense.apply, VARIABLES, X))


@pytest.mark.parametrize("layer", [LAYER, SampledSoftmaxDense(CLASSES, size=None, block_size=7)])
def test_the_exact_loss_is_that_of_the_logits(layer):
    """Deterministic, or of all classes: optax's loss of `nn.Dense`, for examples along two axes and several labels."""
    x, labels = jnp.stack([X, X[::-1]]), jnp.stack([LABELS, LABELS])
    logits = nn.Dense(CLASSES).apply(VARIABLES, x)
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    is_deterministic = layer.size is not None
    actual = once(layer.apply, VARIABLES, x, labels, deterministic=is_deterministic)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    several = jnp.stack([labels, labels[::-1] * 0 - 1, (labels + 1) % CLASSES], 2)  # one slot of three is not used
    expected = (expected + optax.softmax_cross_entropy_with_integer_labels(logits, several[..., 2])) / 2
    actual = once(layer.apply, VARIABLES, x, several, deterministic=is_deterministic)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_top_k():
    scores, ids = LAYER.apply(VARIABLES, X, 3, method="top_k")
    expected = np.asarray(X) @ np.asarray(WEIGHTS).T + np.asarray(BIAS)[None]
    np.testing.assert_array_equal(ids, np.argsort(-expected, 1)[:, :3])
    np.testing.assert_allclose(scores, -np.sort(-expected, 1)[:, :3], rtol=1e-5)


def test_an_embedding_is_an_output_layer():
    """Tied weights: lookups, logits and variables are those of `nn.Embed`, the loss that of a dense layer of them."""
    tied, embed, dense = SampledSoftmaxEmbed(CLASSES, FEATURES, size=8), nn.Embed(CLASSES, FEATURES), LAYER
    variables = embed.init(jax.random.key(1), LABELS)
    chex.assert_trees_all_equal(tied.init(jax.random.key(1), LABELS), variables)
    np.testing.assert_array_equal(tied.apply(variables, LABELS), embed.apply(variables, LABELS))
    attended = tied.apply(variables, X, method="attend")
    np.testing.assert_array_equal(attended, embed.apply(variables, X, method="attend"))
    as_dense = {"params": {"kernel": variables["params"]["embedding"].T, "bias": jnp.zeros(CLASSES)}}
    options = {"deterministic": False, "rngs": RNGS}
    actual = tied.apply(variables, X, LABELS, method="attend", **options)
    np.testing.assert_allclose(actual, dense.apply(as_dense, X, LABELS, **options), rtol=1e-6)
    _, ids = tied.apply(variables, X, 2, method="top_k")
    np.testing.assert_array_equal(ids, np.argsort(-np.asarray(attended), 1)[:, :2])


def test_same_under_jit_vmap_and_scan():
    """The loss for several keys, each by itself, mapped and in a loop."""
    keys = jax.random.split(jax.random.key(1), 3)

    def loss(key):
        return sampled(rngs={"sample": key})

    expected = np.stack([loss(key) for key in keys])
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    for actual in (
        jit(jax.vmap(loss))(keys),
        jit(lambda keys: lax.scan(lambda c, key: (c, loss(key)), 0, keys)[1])(keys),
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


class Model(nn.Module):
    head: nn.Module

    def __call__(self, x, labels):
        return self.head(x, labels, deterministic=False)


@pytest.mark.parametrize(
    ("message", "settings", "labels"),
    [
        ("labels must be from 0 to 29", {}, jnp.array([3, 30, 0, 0])),
        ("labels must have shape", {}, jnp.array([3, 0])),
        ("size must be an integer between 1 and 30", {"size": 31}, LABELS),
        ("proposal must be one of log_uniform, uniform", {"proposal": "zipf"}, LABELS),
        ("proposal must be of the layer's 30 classes", {"proposal": mixture(uniform(40, 3))}, LABELS),
        ("precision must be None where labels are given", {"precision": "highest"}, LABELS),
        ("dot_general must be None where labels are given", {"dot_general": lambda *a, **k: None}, LABELS),
    ],
)
def test_bad_input_is_named(message, settings, labels):
    """By a line that names the layer."""
    model = Model(SampledSoftmaxDense(CLASSES, **{"size": 8, **settings}))
    with pytest.raises(ValueError, match=f"^head: {message}"):
        model.apply({"params": {"head": VARIABLES["params"]}}, X, labels, rngs=RNGS)


def test_the_stream_is_needed():
    with pytest.raises(InvalidRngError, match="needs the RNG stream 'sample'"):
        sampled(rngs={})
    loss = sampled(SampledSoftmaxDense(CLASSES, size=None), rngs={})
    np.testing.assert_allclose(loss, once(LAYER.apply, VARIABLES, X, LABELS, deterministic=True), rtol=1e-6)
