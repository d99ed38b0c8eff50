"""The Linen layers: `nn.Conv` and `nn.Dense` in everything but the estimate."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import serialization
from flax.errors import InvalidRngError
from quick_compilation import jit

from jaxapprox import mc_conv, topk, uniform
from jaxapprox.linen import MCConv, MCDense

X = {
    "conv": jax.random.normal(jax.random.key(0), (2, 6, 5, 4)),
    "dense": jax.random.normal(jax.random.key(0), (2, 3, 4)),
}
kinds = pytest.mark.parametrize("kind", ["conv", "dense"])


def pair(kind, **options):
    """The exact layer and its Monte-Carlo counterpart."""
    if kind == "dense":
        return nn.Dense(3, **options), MCDense(3, **options)
    options = dict(features=3, kernel_size=(3, 2), strides=2, **options)
    return nn.Conv(**options), MCConv(**options)


class Net(nn.Module):
    """A convolution, twice the same, and a dense layer; exact or not."""

    exact: bool
    layer: type = MCConv

    @nn.compact
    def __call__(self, x):
        options = {} if self.exact else {"deterministic": False}
        conv, dense = (nn.Conv, nn.Dense) if self.exact else (self.layer, MCDense)
        for i in range(2):
            x = nn.relu(conv(4, kernel_size=(3, 3), name=f"conv{i}", **options)(x))
        return dense(3, name="dense", **options)(x.mean((1, 2)))


def keys(seed):
    return dict(zip(("params", "sample"), jax.random.split(jax.random.key(seed)), strict=True))


@kinds
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_exact_layer_in_all_but_the_estimate(kind, use_bias, dtype):
    """Same parameters for the same key, and with deterministic=True the same output, also in bfloat16."""
    exact, sampled = pair(kind, use_bias=use_bias, dtype=dtype, bias_init=nn.initializers.normal())
    variables = exact.init(jax.random.key(1), X[kind])
    chex.assert_trees_all_equal(sampled.init(jax.random.key(1), X[kind], deterministic=True), variables)
    expected, actual = exact.apply(variables, X[kind]), sampled.apply(variables, X[kind], deterministic=True)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(np.float32(actual), np.float32(expected), rtol=1e-5, atol=1e-5)
    noisy = sampled.apply(variables, X[kind], deterministic=False, rngs={"sample": jax.random.key(2)})
    assert noisy.dtype == expected.dtype
    assert noisy.shape == expected.shape
    assert np.abs(np.float32(noisy) - np.float32(expected)).max() > 0.01


@pytest.mark.parametrize("shape", [(6, 5, 4), (2, 3, 6, 5, 4)])
def test_any_number_of_batch_axes(shape):
    """As `nn.Conv`, exact and sampled at a ratio of 1."""
    x = jax.random.normal(jax.random.key(0), shape)
    exact, sampled = pair("conv")
    variables = exact.init(jax.random.key(1), x)
    expected = exact.apply(variables, x)
    for layer, deterministic in ((sampled, True), (sampled.clone(ratio=1.0), False)):
        actual = layer.apply(variables, x, deterministic=deterministic, rngs={"sample": jax.random.key(2)})
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"^x must have shape .* got shape \(5, 4\)"):
        sampled.apply(variables, x[(0,) * (len(shape) - 2)], deterministic=True)


def test_layer_passes_its_options_on():
    """The layer is `mc_conv` with its attributes and a key from the stream "sample"."""
    seen = {}

    def sampler(key, scores, num_samples):
        seen.update(key=key, n=scores.shape[0], k=num_samples)
        return topk(key, scores, num_samples)

    geometry = dict(strides=(1, 2), padding="VALID", kernel_dilation=(2, 1))
    options = dict(ratio=0.25, unit="edge", mode="straight_through", min_samples=8, sampler=sampler, **geometry)
    layer = MCConv(3, (3, 2), use_bias=False, deterministic=False, **options)
    y, variables = layer.init_with_output(keys(0), X["conv"])
    assert (seen["n"], seen["k"]) == (24, 8)
    np.testing.assert_allclose(
        y, mc_conv(jax.random.key(0), X["conv"], variables["params"]["kernel"], **options), rtol=1e-5, atol=1e-5
    )


@kinds
def test_missing_stream_is_an_error(kind):
    """Without the stream "sample" a sampled call raises, even where "params" or "dropout" could serve."""
    layer = pair(kind)[1]
    variables = layer.init(jax.random.key(1), X[kind], deterministic=True)
    for rngs in (None, {"params": jax.random.key(0)}, {"dropout": jax.random.key(0)}):
        with pytest.raises(InvalidRngError, match="sample"):
            layer.apply(variables, X[kind], deterministic=False, rngs=rngs)
    with pytest.raises(InvalidRngError, match="sample"):
        layer.init(jax.random.key(1), X[kind], deterministic=False)


def test_layers_draw_distinct_keys():
    """Two layers in one model do not share a draw."""
    seen = []

    def sampler(key, scores, num_samples):
        seen.append(tuple(np.asarray(jax.random.key_data(key))))
        return uniform(key, scores, num_samples)

    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(2):
                x = MCDense(4, sampler=sampler, deterministic=False)(x)
            return x

    Two().init(keys(0), X["dense"])
    assert len(seen) == len(set(seen)) == 2


@pytest.mark.parametrize("how", ["bytes", "orbax"])
def test_checkpoints_move_both_ways(how, tmp_path):
    """A checkpoint of the exact model loads into the sampled one and back, unchanged."""
    exact, sampled = Net(exact=True), Net(exact=False)
    ours, theirs = sampled.init(keys(1), X["conv"]), exact.init(keys(2), X["conv"])
    for i, (source, target) in enumerate([(theirs, ours), (ours, theirs)]):
        if how == "bytes":
            loaded = serialization.from_bytes(target, serialization.to_bytes(source))
        else:
            orbax = pytest.importorskip("orbax.checkpoint")
            with orbax.StandardCheckpointer() as checkpointer:
                checkpointer.save(tmp_path / str(i), source)
                checkpointer.wait_until_finished()
                loaded = checkpointer.restore(tmp_path / str(i), target)
        chex.assert_trees_all_equal(loaded, source)
        sampled.apply(loaded, X["conv"], rngs=keys(3))


def test_jit_vmap_over_seeds_and_remat():
    """The model trains under `jit`, `vmap` over seeds and `nn.remat`, with one result for each key."""
    x = X["conv"]
    variables = Net(exact=False).init(keys(1), x)
    sample_keys = jax.random.split(jax.random.key(2), 3)

    def gradient(layer, key):
        model = Net(exact=False, layer=layer)
        return jax.grad(lambda v: jnp.sum(model.apply(v, x, rngs={"sample": key}) ** 2))(variables)

    mapped = jit(jax.vmap(lambda key: gradient(MCConv, key)))(sample_keys)
    for i, key in enumerate(sample_keys[:2]):
        for other in (jit(lambda key: gradient(MCConv, key)), jit(lambda key: gradient(nn.remat(MCConv), key))):
            own = jax.tree.map(lambda a, i=i: a[i], mapped)
            chex.assert_trees_all_close(other(key), own, rtol=1e-3, atol=1e-4)
    kernels = mapped["params"]["conv1"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 0  # another key, another draw


@kinds
def test_deterministic_must_be_given_once(kind):
    """Neither a silent default nor two values: `deterministic` is given to the layer or to the call."""
    layer = pair(kind)[1]
    with pytest.raises(ValueError, match="deterministic"):
        layer.init(keys(0), X[kind])
    with pytest.raises(ValueError, match="deterministic"):
        layer.clone(deterministic=True).init(keys(0), X[kind], deterministic=False)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (dict(feature_group_count=2), "feature_group_count"),
        (dict(ratio=0), "ratio"),
        (dict(padding="CIRCULAR"), "padding"),
    ],
    ids=["groups", "ratio", "padding"],
)
def test_bad_options_are_named(options, name):
    """What the layer cannot do is a ValueError that begins with the attribute's name."""
    with pytest.raises(ValueError, match=f"^{name} must "):
        MCConv(4, (3, 3), deterministic=False, **options).init(keys(0), X["conv"])
