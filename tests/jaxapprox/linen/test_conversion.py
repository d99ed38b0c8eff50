"""`jaxapprox.linen.convert`: existing models with approximated layers, their parameters untouched."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.errors import InvalidRngError
from flax_models import VAE, AttentionBlock, Pair, ResNet, Scanned, Translator
from jax import lax
from quick_compilation import jit

from jaxapprox import ALSH, MC, uniform
from jaxapprox.linen import MCConv, MCDense, convert, rehash

IMAGES = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
TOKENS = jax.random.normal(jax.random.key(0), (2, 5, 16))
FLAT = jax.random.normal(jax.random.key(0), (3, 20))
SMALL = dict(blocks=(1, 1), width=16)


def sample(seed):
    return {"sample": jax.random.key(seed)}


def initial(model, *inputs, **streams):
    """Its variables, made by one program."""
    rngs = {"params": jax.random.key(1), **streams}
    return jit(lambda rngs, inputs: model.init(rngs, *inputs))(rngs, inputs)


def applied(model, variables, *inputs, rngs=None, **options):
    """What `apply` gives, by one program."""
    return jit(lambda variables, inputs, rngs: model.apply(variables, *inputs, rngs=rngs, **options))(
        variables, inputs, rngs
    )


def test_resnet50_trains_a_step_with_its_own_parameters():
    """One call converts it; one of a block a stage takes the exact model's variables, and all of its weights move."""
    rules = [("*", MC(ratio=0.5))]
    replaced = convert(ResNet(), rules, jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)).report.methods
    assert len(replaced) == 3 * 16 + 4
    assert not {"conv_init", "Dense_0"} & set(replaced)
    model = ResNet(blocks=(1, 1, 1, 1), width=16)
    sampled = convert(model, rules, IMAGES)
    variables = initial(model, IMAGES)
    chex.assert_trees_all_equal_shapes_and_dtypes(
        jax.eval_shape(lambda: sampled.init(jax.random.key(1), IMAGES)), jax.eval_shape(lambda: variables)
    )
    labels = jnp.array([1, 2])

    @jit
    def step(variables, key):
        def loss_of(params):
            logits, updated = sampled.apply(
                {**variables, "params": params}, IMAGES, rngs={"sample": key}, mutable=["batch_stats"]
            )
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updated

        return jax.grad(loss_of, has_aux=True)(variables["params"])

    grads, updated = step(lively(variables), jax.random.key(2))
    chex.assert_tree_all_finite(grads)
    for path, gradient in jax.tree_util.tree_leaves_with_path(grads):
        assert np.any(np.asarray(gradient) != 0), path
    assert jax.tree.structure(updated["batch_stats"]) == jax.tree.structure(variables["batch_stats"])


@pytest.mark.parametrize("rules", [[], [("*", None)]])
def test_nothing_to_replace_is_the_model_itself(rules):
    """To the bit: variables, output and updated statistics; no stream is needed."""
    model = ResNet(**SMALL)
    converted = convert(model, rules, IMAGES)
    assert not converted.report.methods
    variables = initial(model, IMAGES)
    chex.assert_trees_all_equal(initial(converted, IMAGES), variables)
    actual, expected = (applied(m, variables, IMAGES, train=True, mutable=["batch_stats"]) for m in (converted, model))
    chex.assert_trees_all_equal(actual, expected)


def test_layers_are_ours():
    """A converted model is the one written with our layers: the same variables and, for the same keys, output."""
    rules = [("conv", MC(0.25, mode="straight_through")), ("dense", MC(0.5, uniform, min_samples=9))]
    converted = convert(Pair(), rules, IMAGES)

    class Conv(MCConv):
        ratio: float = 0.25
        mode: str = "straight_through"

    class Dense(MCDense):
        sampler: type = uniform
        min_samples: int = 9

    ours = Pair(Conv, Dense)
    variables = initial(ours, IMAGES, **sample(0))
    chex.assert_trees_all_equal(initial(converted, IMAGES), variables)
    actual, expected = (applied(m, variables, IMAGES, rngs=sample(2)) for m in (converted, ours))
    np.testing.assert_array_equal(actual, expected)
    assert np.abs(actual - applied(Pair(), variables, IMAGES)).max() > 0.01


def test_vae_hashed_with_its_methods():
    """Hashed layers in a model with `setup`: tables come from `init`, or from the exact parameters; `method=` works."""
    model = VAE()
    converted = convert(model, [("decoder/*", ALSH(active=0.2))], FLAT)
    assert set(converted.report.methods) == {"decoder/layers_0", "decoder/layers_2"}
    keys = {"params": jax.random.key(1), "latent": jax.random.key(2)}
    # Not by a program each, which round differently.
    exact, variables = model.init(keys, FLAT), converted.init(keys, FLAT)
    chex.assert_trees_all_equal(variables["params"], exact["params"])
    z = jax.random.normal(jax.random.key(3), (3, 4))
    options = dict(capture_intermediates=True, mutable=["intermediates"])
    _, seen = applied(converted, variables, z, rngs=sample(4), method=VAE.generate, **options)
    for layer, active in (("layers_0", 6), ("layers_2", 8)):
        (y,) = seen["intermediates"]["decoder"][layer]["__call__"]
        assert np.count_nonzero(y, axis=1).tolist() == [active] * 3
    rngs = {**sample(4), "params": jax.random.key(5), "latent": jax.random.key(2)}
    _, built = applied(converted, exact, FLAT, rngs=rngs, mutable=["lsh"])
    assert jax.tree.map(jnp.shape, built["lsh"]) == jax.tree.map(jnp.shape, variables["lsh"])
    chex.assert_trees_all_equal(jit(rehash)({**exact, **built}), built["lsh"])
    with pytest.raises(ValueError, match=r"^decoder/layers_0: variables must hold the collection lsh"):
        converted.apply(exact, FLAT, rngs=rngs)


def test_attention_is_converted():
    """Its projections are `nn.DenseGeneral`; dropout keeps its own stream, and draws what it drew."""
    converted = convert(AttentionBlock(), [("*", MC(ratio=1.0))], TOKENS, keep_ends=False)
    kinds = [o.layer.kind for o in converted.report.outcomes if o.method is not None]
    assert kinds == 4 * ["DenseGeneral"] + 2 * ["Dense"]
    out = next(o.layer for o in converted.report.outcomes if o.layer.path.endswith("out"))
    assert (out.inputs, out.outputs) == (16, 16)  # two heads of eight
    variables = initial(AttentionBlock(), TOKENS)
    dropout = {"dropout": jax.random.key(2)}
    expected = applied(AttentionBlock(), variables, TOKENS, train=True, rngs=dropout)
    actual = applied(converted, variables, TOKENS, train=True, rngs={**dropout, **sample(0)})
    np.testing.assert_array_equal(actual, expected)


def test_a_translator_trains_and_decodes():
    """Every layer but the ends, or those too; training moves what is sampled, decoding fills the model's own cache."""
    rules, words = [("*", MC(0.5, uniform))], jnp.arange(6).reshape(2, 3)
    assert len(convert(Translator(), rules, words, words).report.methods) == 31
    report = convert(Translator(), rules, words, words, keep_ends=False).report
    assert len(report.methods) == len(report.outcomes) == 33
    model = Translator(blocks=1, decode=True)
    converted = convert(
        model, [("decoder_0/*query", MC(0.5, uniform)), ("decoder_0/*out", MC(0.5, uniform))], words, words
    )
    assert len(converted.report.methods) == 4  # of attention to itself and to the encoded words
    variables = initial(model, words, words)
    cache = variables["cache"]

    @jit
    def step(params, key):
        def loss(params):
            logits, state = converted.apply(
                {"params": params, "cache": cache}, words, words[:, :1], rngs={"sample": key}, mutable=["cache"]
            )
            return jnp.sum(logits**2), state["cache"]

        return jax.grad(loss, has_aux=True)(params)

    (first, state), (second, _) = (step(variables["params"], jax.random.key(seed)) for seed in (2, 3))
    for name in ("MultiHeadDotProductAttention_0", "MultiHeadDotProductAttention_1"):
        one, other = (grads["decoder_0"][name]["out"]["kernel"] for grads in (first, second))
        assert np.any(one != 0) and np.any(one != other)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, cache)
    attention = state["decoder_0"]["MultiHeadDotProductAttention_0"]
    assert attention["cache_index"] == 1 and np.any(attention["cached_key"] != 0)


def lively(variables):
    """Without BatchNorm scales of 0, which let no gradient pass but that of the shortcuts."""
    return {**variables, "params": jax.tree.map(lambda p: p + 1 if p.ndim == 1 else p, variables["params"])}


def gradient_of(model, variables, x):
    def gradient(key):
        def loss(params):
            y, _ = model.apply({**variables, "params": params}, x, rngs={"sample": key}, mutable=["batch_stats"])
            return jnp.sum(y.astype(jnp.float32) ** 2)

        return jax.grad(loss)(variables["params"])

    return gradient


def test_transformations():
    """One result for a key by itself, under `jit` and `vmap` over keys, in a `scan` and with `nn.remat`ed blocks."""
    rules = [("stage*", MC(sampler=uniform))]  # whose draws do not follow rounding
    model = ResNet(**SMALL)
    variables = lively(initial(model, IMAGES))
    gradient = gradient_of(convert(model, rules, IMAGES), variables, IMAGES)
    rematted = gradient_of(convert(ResNet(**SMALL, remat=True), rules, IMAGES), variables, IMAGES)
    keys = jax.random.split(jax.random.key(2), 2)
    expected = jit(gradient)(keys[0])
    scanned = jit(lambda keys: lax.scan(lambda _, key: (None, gradient(key)), None, keys)[1])(keys)
    mapped = jit(jax.vmap(gradient))(keys)
    first = [jax.tree.map(lambda g: g[0], grads) for grads in (scanned, mapped)]
    for actual in (*first, jit(rematted)(keys[0])):
        jax.tree.map(
            lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-3 * np.abs(e).max()), actual, expected
        )
    kernels = mapped["stage0_block0"]["Conv_1"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 0


def test_bfloat16():
    """Mixed precision stays mixed: computed in bfloat16, with parameters and gradients of float32."""
    model = ResNet(**SMALL, dtype=jnp.bfloat16)
    converted = convert(model, [("stage*", MC(ratio=1.0))], IMAGES)
    variables = initial(converted, IMAGES)
    expected, actual = (jit(gradient_of(m, variables, IMAGES))(jax.random.key(2)) for m in (model, converted))
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == e.dtype == jnp.float32
        np.testing.assert_allclose(a, e, rtol=0.1, atol=0.05 * np.abs(e).max())


SPLIT = {"params": True}
AXES = {"params": 0}


@pytest.mark.parametrize("streams", [SPLIT, {"params": True, "sample": True}])
def test_scanned_layers_draw_each_for_itself(streams):
    """Of identity kernels a uniform sample keeps half of the units; with a draw each three layers keep fewer."""
    model = Scanned(3, streams, AXES)
    x = jnp.ones((1, 64))
    converted = convert(model, [("layers/dense", MC(0.5, uniform))], x)
    variables = initial(model, x)
    identities = jax.tree.map(lambda kernel: jnp.broadcast_to(jnp.eye(64), kernel.shape), variables)
    y = converted.apply(identities, x, rngs=sample(1))
    assert 0 < np.count_nonzero(y) < 24
    np.testing.assert_array_equal(y[y != 0], 8)
    assert np.any(converted.apply(identities, x, rngs=sample(2)) != y)
    exact = convert(model, [("layers/dense", MC(1.0))], x).apply(variables, x, rngs=sample(1))
    np.testing.assert_array_equal(exact, model.apply(variables, x))


def test_scanned_layers_need_their_tables():
    """Tables that the scan does not carry: the layer's path, and what to do."""
    x = jnp.ones((1, 64))
    rules = [("layers/*", ALSH())]
    with pytest.raises(ValueError, match=r"got layers/dense \(the collection 'lsh', for its tables, .* variable_axes"):
        convert(Scanned(3, SPLIT, AXES), [("layers/dense", ALSH())], x)
    assert not convert(Scanned(3, SPLIT, AXES), rules, x, keep_ends=False).report.methods
    model = Scanned(3, SPLIT, {"params": 0, "lsh": 0})
    converted = convert(model, rules, x, keep_ends=False)
    variables = initial(converted, x)
    assert np.count_nonzero(applied(converted, variables, x, rngs=sample(1))) == 3
    assert jax.eval_shape(rehash, variables)["layers"]["dense"]["tables"].codes.shape[0] == 3


def test_jitted_submodules_are_converted_too():
    """`nn.jit` compiles a submodule once; its exact program must not serve the converted model."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.jit(Pair)(name="pair")(x)

    variables = initial(Model(), IMAGES)
    exact = Model().apply(variables, IMAGES)
    sampled = convert(Model(), [("pair/conv", MC(0.25))], IMAGES)
    drawn = [sampled.apply(variables, IMAGES, rngs=sample(i)) for i in range(2)]
    assert np.any(drawn[0] != exact) and np.any(drawn[0] != drawn[1])
    np.testing.assert_array_equal(Model().apply(variables, IMAGES), exact)


def test_missing_stream_names_the_layer():
    """A model applied without keys, or with others, says which stream and which layer wants it."""
    model = ResNet(**SMALL)
    converted = convert(model, [("stage1*", MC())], IMAGES)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGES))
    for rngs in (None, {"dropout": jax.random.key(0)}):
        with pytest.raises(InvalidRngError, match=r"'sample', from which stage1_block0/Conv_0 draws"):
            jax.eval_shape(lambda v: converted.apply(v, IMAGES, rngs=rngs, mutable=["batch_stats"]), variables)  # noqa: B023
    with pytest.raises(InvalidRngError, match=r"conv \(MCConv\) needs the RNG stream 'sample'"):
        Pair(MCConv).init(jax.random.key(0), IMAGES)
