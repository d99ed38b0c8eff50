"""The Linen layers: Flax's own in everything but the estimate."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import serialization
from flax.errors import InvalidRngError
from jax import lax
from quick_compilation import jit, once

from jaxapprox import mc_conv, topk, uniform
from jaxapprox.linen import MCConv, MCConvTranspose, MCDense, MCDenseGeneral, MCEinsum

IMAGES = jax.random.normal(jax.random.key(0), (2, 6, 5, 4))
ROWS = jax.random.normal(jax.random.key(0), (2, 3, 4))
# By kind: Flax's layer, ours, arguments, an input, and the number of terms in a sum.
LAYERS = {
    "conv": (nn.Conv, MCConv, (3, (3, 2), 2), IMAGES, 4),
    "transposed": (nn.ConvTranspose, MCConvTranspose, (3, (3, 2), (2, 1)), IMAGES, 4),
    "dense": (nn.Dense, MCDense, (3,), ROWS, 4),
    "general": (nn.DenseGeneral, MCDenseGeneral, ((5, 3), (1, -1)), ROWS, 12),
    "einsum": (nn.Einsum, MCEinsum, ((4, 5, 3), "...d,dhk->...hk"), ROWS, 4),
}
kinds = pytest.mark.parametrize("kind", LAYERS)


def pair(kind, **options):
    """Flax's layer, its Monte-Carlo counterpart and an input."""
    exact, sampled, arguments, x, _ = LAYERS[kind]
    return exact(*arguments, **options), sampled(*arguments, **options), x


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


def arguments(function):
    """Names and defaults of what it takes, without those of every Linen module."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.default) for p in parameters if p.name not in ("parent", "name")]


@kinds
def test_arguments_are_those_of_flax(kind):
    """Flax's own come first, with their defaults, whatever the installed Flax has; then ours."""
    theirs, ours = LAYERS[kind][:2]
    for flax_function, our_function in ((theirs, ours), (theirs.__call__, ours.__call__)):
        expected, actual = arguments(flax_function), arguments(our_function)
        assert actual[: len(expected)] == expected
        assert ("deterministic", None) in actual[len(expected) :]


@kinds
@pytest.mark.parametrize("options", [{}, dict(use_bias=False, dtype=jnp.bfloat16)], ids=["plain", "bfloat16"])
def test_exact_layer_in_all_but_the_estimate(kind, options):
    """Same parameters for the same key, and with deterministic=True the same output, also in bfloat16."""
    exact, sampled, x = pair(kind, bias_init=nn.initializers.normal(), **options)
    variables = once(exact.init, jax.random.key(1), x)
    for deterministic in (True, False):
        ours = once(sampled.init, keys(1) | {"params": jax.random.key(1)}, x, deterministic=deterministic)
        chex.assert_trees_all_equal(ours, variables)
    expected, actual = once(exact.apply, variables, x), once(sampled.apply, variables, inputs=x, deterministic=True)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(np.float32(actual), np.float32(expected), rtol=1e-5, atol=1e-5)
    noisy = once(sampled.apply, variables, x, deterministic=False, rngs={"sample": jax.random.key(2)})
    assert noisy.dtype == expected.dtype and noisy.shape == expected.shape
    assert np.abs(np.float32(noisy) - np.float32(expected)).max() > 0.01


SETTINGS = [
    *(("conv", dict(padding=padding)) for padding in ("CIRCULAR", "REFLECT", ((-1, 1), (0, 2)))),
    ("conv", dict(input_dilation=2, padding=((1, 1), (1, 1)), precision=lax.Precision.HIGHEST)),
    ("conv", dict(features=4, feature_group_count=2, mask=jnp.ones((3, 2, 2, 4)).at[0].set(0))),
    ("conv", dict(kernel_size=(2,), strides=1, padding="CAUSAL", kernel_dilation=2)),
    *(("transposed", dict(padding="CIRCULAR", transpose_kernel=transposed)) for transposed in (False, True)),
    ("transposed", dict(strides=None, kernel_dilation=(1, 2), padding=(1, (0, 2)))),
    ("transposed", dict(mask=jnp.ones((3, 2, 4, 3)).at[0].set(0), padding="VALID")),
    ("dense", dict(promote_dtype=lambda *arrays, dtype: [2 * a for a in arrays])),
    ("general", dict(features=5, axis=-1, batch_dims=(0,))),
    ("einsum", dict(shape=(2, 4, 3), einsum_str="bsd, bdk -> skb")),
]


@pytest.mark.parametrize(("kind", "options"), SETTINGS)
def test_settings_have_the_meaning_that_flax_gives_them(kind, options):
    """By Flax's own code and, with all terms kept, by ours."""
    exact, sampled, x = pair(kind, bias_init=nn.initializers.normal())
    exact, sampled = exact.clone(**options), sampled.clone(**options, ratio=1.0)
    variables = once(exact.init, jax.random.key(1), x)
    expected = once(exact.apply, variables, x)
    for deterministic in (True, False):
        actual = once(sampled.apply, variables, x, deterministic=deterministic, rngs={"sample": jax.random.key(2)})
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_integers_of_any_type():
    """Sizes, strides, dilations and padding may be NumPy's, and lists."""
    layers = [
        (
            nn.Conv(3, (3, 2), (2, 1), ((1, 2), (0, 1)), kernel_dilation=2),
            MCConv(
                np.int64(3), np.array([3, 2]), np.array([2, 1]), np.array([[1, 2], [0, 1]]), kernel_dilation=np.int8(2)
            ),
        ),
        (
            nn.ConvTranspose(3, (3, 2), (2, 1), ((1, 2), (0, 1))),
            MCConvTranspose(np.int64(3), [3, 2], np.array([2, 1]), [[1, 2], [0, 1]]),
        ),
        (nn.Dense(3), MCDense(np.int64(3))),
    ]
    for exact, sampled in layers:
        variables = once(exact.init, jax.random.key(1), IMAGES)
        actual = sampled.clone(ratio=1.0).apply(variables, IMAGES, deterministic=False, rngs=keys(2))
        np.testing.assert_allclose(actual, once(exact.apply, variables, IMAGES), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["conv", "transposed"])
@pytest.mark.parametrize("shape", [(6, 5, 4), (2, 3, 6, 5, 4)])
def test_any_number_of_batch_axes(kind, shape):
    """As Flax's, exact and sampled at a ratio of 1."""
    x = jax.random.normal(jax.random.key(0), shape)
    exact, sampled, _ = pair(kind)
    variables = once(exact.init, jax.random.key(1), x)
    expected = once(exact.apply, variables, x)
    for layer, deterministic in ((sampled, True), (sampled.clone(ratio=1.0), False)):
        actual = once(layer.apply, variables, x, deterministic=deterministic, rngs={"sample": jax.random.key(2)})
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@kinds
def test_layer_passes_its_options_on(kind):
    """The sampler is asked for the layer's share of all terms of the sum, with a key from the stream "sample"."""
    seen = {}

    def sampler(key, scores, num_samples):
        seen.update(n=scores.shape[0], k=num_samples)
        return topk(key, scores, num_samples)

    _, layer, x = pair(kind)
    layer.clone(sampler=sampler, ratio=0.25, min_samples=3, deterministic=False).init(keys(0), x)
    terms = LAYERS[kind][-1]
    assert seen == dict(n=terms, k=max(3, terms // 4))


def test_a_convolution_is_mc_conv():
    """Whatever its unit and mode."""
    options = dict(ratio=0.25, unit="edge", mode="straight_through", min_samples=8, sampler=topk)
    options |= dict(strides=(1, 2), padding="VALID", kernel_dilation=(2, 1))
    y, variables = once(
        MCConv(3, (3, 2), use_bias=False, deterministic=False, **options).init_with_output, keys(0), IMAGES
    )
    expected = mc_conv(jax.random.key(0), IMAGES, variables["params"]["kernel"], **options)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@kinds
def test_missing_stream_is_an_error(kind):
    """Without the stream "sample" a sampled call raises, even where "params" or "dropout" could serve."""
    _, layer, x = pair(kind)
    variables = once(layer.init, jax.random.key(1), x, deterministic=True)
    for rngs in (None, {"params": jax.random.key(0)}, {"dropout": jax.random.key(0)}):
        with pytest.raises(InvalidRngError, match="sample"):
            once(layer.apply, variables, x, deterministic=False, rngs=rngs)
    with pytest.raises(InvalidRngError, match="sample"):
        once(layer.init, jax.random.key(1), x, deterministic=False)


def test_layers_draw_distinct_keys():
    """Two layers in one model do not share a draw."""
    seen = []

    def sampler(key, scores, num_samples):
        jax.debug.callback(lambda data: seen.append(tuple(data.tolist())), jax.random.key_data(key))
        return uniform(key, scores, num_samples)

    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(2):
                x = MCDense(4, sampler=sampler, deterministic=False)(x)
            return x

    jax.block_until_ready(once(Two().init, keys(0), ROWS))
    jax.effects_barrier()
    assert len(seen) == len(set(seen)) == 2


@pytest.mark.parametrize("how", ["bytes", "orbax"])
def test_checkpoints_move_both_ways(how, tmp_path):
    """A checkpoint of the exact model loads into the sampled one and back, unchanged."""
    exact, sampled = Net(exact=True), Net(exact=False)
    ours, theirs = once(sampled.init, keys(1), IMAGES), once(exact.init, keys(2), IMAGES)
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
        once(sampled.apply, loaded, IMAGES, rngs=keys(3))


def test_jit_vmap_over_seeds_and_remat():
    """The model trains under `jit`, `vmap` over seeds and `nn.remat`, with one result for each key."""
    variables = Net(exact=False).init(keys(1), IMAGES)
    sample_keys = jax.random.split(jax.random.key(2), 3)

    def gradient(layer, key):
        model = Net(exact=False, layer=layer)
        return jax.grad(lambda v: jnp.sum(model.apply(v, IMAGES, rngs={"sample": key}) ** 2))(variables)

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
    _, layer, x = pair(kind)
    with pytest.raises(ValueError, match="deterministic"):
        layer.init(keys(0), x)
    with pytest.raises(ValueError, match="deterministic"):
        layer.clone(deterministic=True).init(keys(0), x, deterministic=False)


def test_a_product_of_ones_own_is_used_in_evaluation_alone():
    """There is no estimate of it: a sampled call says so."""

    def dot_general(*args, **kwargs):
        return 2 * lax.dot_general(*args, **kwargs)

    for options in (dict(dot_general=dot_general), dict(dot_general_cls=lambda: dot_general)):
        layer = MCDense(3, use_bias=False, **options)
        y, variables = once(layer.init_with_output, jax.random.key(0), ROWS, deterministic=True)
        np.testing.assert_allclose(y, 2 * ROWS @ variables["params"]["kernel"], rtol=1e-6)
        with pytest.raises(ValueError, match=f"^{next(iter(options))} must be None for an approximate"):
            once(layer.apply, variables, ROWS, deterministic=False, rngs=keys(1))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (MCConv(4, (3, 3), ratio=0), "ratio must be a number in .0, 1., got 0"),
        (MCConv(4, (3, 3), mode="both"), "mode must be one of forward, .* got 'both'"),
        (MCConv(4, (3, 3), padding="NONE"), "padding must be .* got 'NONE'"),
        (MCConvTranspose(4, (3, 3), mask=jnp.ones((2, 3, 4, 4))), r"mask must .*\(3, 3, 4, 4\), got \(2, 3, 4, 4\)"),
        (MCEinsum((4, 3), "bxyd,dk"), "einsum_str must have the form 'inputs,kernel->output', got 'bxyd,dk'"),
        (MCEinsum((4, 3), "bxyd,dk->bxyn"), "einsum_str must have no axis in its output .* got 'bxyd,dk->bxyn'"),
        (MCConv(4, (3,) * 4), "x must have shape .* with 1 to 3 spatial axes"),
        (MCDenseGeneral(4, min_samples=0), "min_samples must be a positive integer, got 0"),
    ],
)
def test_bad_options_are_named(layer, message):
    """The layer, the attribute, what it must be and what it was; within a model by the layer's path."""
    with pytest.raises(ValueError, match=f"^{message}"):
        layer.init(keys(0), IMAGES, deterministic=False)
    model = nn.Sequential([jnp.sin, layer.clone(deterministic=False)])
    with pytest.raises(ValueError, match=f"^layers_1: {message}"):
        model.init(keys(0), IMAGES)
