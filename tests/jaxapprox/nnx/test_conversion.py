"""`jaxapprox.nnx.convert`: a copy of an existing model with approximated layers."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxapprox import ALSH, MC, uniform
from jaxapprox.nnx import ALSHDense, HashTable, MCConv, MCDense, convert, rehash

IMAGES = jax.random.normal(jax.random.key(0), (2, 12, 12, 3))


class Block(nnx.Module):
    """A convolution with BatchNorm."""

    def __init__(self, n, m, strides=1, *, dtype=None, rngs):
        self.conv = nnx.Conv(n, m, (3, 3), strides=strides, use_bias=False, dtype=dtype, rngs=rngs)
        self.norm = nnx.BatchNorm(m, dtype=dtype, rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.norm(self.conv(x)))


class CNN(nnx.Module):
    """A network as people write them, of blocks in a list, with a depthwise convolution and dropout."""

    def __init__(self, dtype=None, *, rngs):
        self.stem = nnx.Conv(3, 16, (3, 3), dtype=dtype, rngs=rngs)
        self.blocks = nnx.Sequential(Block(16, 16, dtype=dtype, rngs=rngs), Block(16, 32, 2, dtype=dtype, rngs=rngs))
        self.depthwise = nnx.Conv(32, 32, (3, 3), feature_group_count=32, dtype=dtype, rngs=rngs)
        self.hidden = nnx.Linear(32, 64, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.classifier = nnx.Linear(64, 10, dtype=dtype, rngs=rngs)

    def __call__(self, x):
        x = self.depthwise(self.blocks(nnx.relu(self.stem(x))))
        return self.classifier(self.dropout(nnx.relu(self.hidden(x.mean((1, 2))))))


@functools.partial(nnx.jit, static_argnames="dtype")
def cnn(dtype=None):
    """By one program, as each of the operations would be one."""
    return CNN(dtype, rngs=nnx.Rngs(params=0, dropout=1))


@nnx.jit
def called(model, x):
    """By one program."""
    return model(x)


def sample(seed=2):
    return nnx.Rngs(sample=seed)


def pure(node, kind=nnx.Param):
    return nnx.to_pure_dict(nnx.state(node, kind))


def test_a_cnn_trains_a_step():
    """One call: MC convolutions train, every weight moves, the original stays; states move between the two."""
    model = CNN(rngs=nnx.Rngs(params=0, dropout=1))  # a program's result has its layers in another order
    before = pure(model)
    sampled, report = convert(model, [("*", MC(ratio=0.5))], rngs=sample())
    assert list(report.methods) == ["blocks/layers/0/conv", "blocks/layers/1/conv", "hidden"]
    assert isinstance(sampled.blocks.layers[0].conv, MCConv) and isinstance(sampled.hidden, MCDense)
    assert isinstance(model.blocks.layers[0].conv, nnx.Conv) and isinstance(model.hidden, nnx.Linear)
    assert [(o.layer.path, o.why) for o in report.outcomes if o.method is None] == [
        ("stem", "the first layer (keep_ends)"),
        ("depthwise", "a depthwise convolution (feature_group_count = 32): no channel to leave out"),
        ("classifier", "the last layer (keep_ends)"),
    ]
    optimizer = nnx.Optimizer(sampled, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss_of(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(IMAGES), jnp.array([1, 2])).mean()

        optimizer.update(model, nnx.grad(loss_of)(model))

    step(sampled, optimizer)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), pure(sampled), before)
    del moved["stem"]["bias"], moved["depthwise"]["bias"]  # whether these move at all is BatchNorm's and ReLU's affair
    assert all(jax.tree.leaves(moved))
    chex.assert_trees_all_equal(pure(model), before)
    nnx.update(sampled, nnx.state(model, nnx.Param))
    chex.assert_trees_all_equal(pure(sampled), before)
    nnx.update(model, nnx.state(sampled, nnx.Param))


def test_evaluation_is_the_model():
    model = cnn()
    sampled, _ = convert(model, [("*", MC())], rngs=sample())
    sampled.eval(), model.eval()
    np.testing.assert_allclose(called(sampled, IMAGES), called(model, IMAGES), rtol=1e-5, atol=1e-5)
    sampled.train()
    assert np.any(called(sampled, IMAGES) != called(sampled, IMAGES))


def test_no_rules_is_the_model_itself():
    """To the bit, and without a stream."""
    model = cnn()
    converted, report = convert(model, [], rngs=nnx.Rngs())
    assert not report.methods
    np.testing.assert_array_equal(called(converted, IMAGES), called(model, IMAGES))


def test_mixed_precision_stays():
    sampled, _ = convert(cnn(dtype=jnp.bfloat16), [("*", MC())], rngs=sample())
    assert nnx.eval_shape(lambda model: model(IMAGES), sampled).dtype == jnp.bfloat16
    assert sampled.hidden.kernel[...].dtype == jnp.float32


def test_hashed_layers_with_tables():
    """Tables of the weights as they are, that `rehash` leaves the same; a name without wildcards is an order."""
    hashed, report = convert(cnn(), [("classifier", ALSH(active=0.3)), ("hid*", ALSH(active=0.25))], rngs=sample())
    assert set(report.methods) == {"classifier", "hidden"} and isinstance(hashed.hidden, ALSHDense)
    x = jax.random.normal(jax.random.key(3), (4, 32))
    np.testing.assert_array_equal(np.count_nonzero(hashed.hidden(x), axis=1), 16)
    tables = pure(hashed, HashTable)
    rehash(hashed)
    chex.assert_trees_all_equal(pure(hashed, HashTable), tables)


def test_shared_layers_stay_shared():
    """One layer in two places is replaced by one."""

    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(16, 16, rngs=rngs)
            self.second = self.first
            self.heads = nnx.Sequential(nnx.Linear(16, 16, rngs=rngs), nnx.Linear(16, 16, rngs=rngs))

    sampled, report = convert(Tied(nnx.Rngs(params=0)), [("*", MC())], rngs=sample(), keep_ends=False)
    assert list(report.methods) == ["first", "heads/layers/0", "heads/layers/1"]
    assert isinstance(sampled.first, MCDense) and sampled.first is sampled.second
    assert isinstance(sampled.heads.layers[0], MCDense)
    keys = {tuple(map(int, jax.random.key_data(m.rngs()))) for m in (sampled.first, *sampled.heads.layers)}
    assert len(keys) == 3


@pytest.mark.parametrize("method", [MC(0.5, uniform), ALSH(active=0.5)])
def test_stacked_layers_draw_each_for_itself(method):
    """Parameters stacked by `nnx.vmap` and scanned over: identity kernels keep fewer units with every draw."""

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,))
    def make(rngs):
        return nnx.Linear(64, 64, use_bias=False, rngs=rngs)

    class Model(nnx.Module):
        def __init__(self):
            self.layers = make(nnx.Rngs(params=0))
            self.layers.kernel[...] = jnp.broadcast_to(jnp.eye(64) + 0.0, (3, 64, 64))

        def __call__(self, x):
            @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
            def forward(layer, x):
                return layer(x)

            return forward(self.layers, x)

    sampled, report = convert(Model(), [("layers", method)], rngs=sample())
    assert list(report.methods) == ["layers"]
    y = sampled(jnp.ones((1, 64)))
    assert 0 < np.count_nonzero(y) < 24
    if isinstance(method, ALSH):
        assert sampled.layers.tables.load().codes.shape == (3, 5, 64)
        rehash(sampled)
    else:
        np.testing.assert_array_equal(y[y != 0], 8)


def test_bad_rules_and_missing_streams():
    with pytest.raises(ValueError, match=r"^rule 'hiden' must match a layer, got none; near it: hidden"):
        convert(cnn(), [("hiden", MC())], rngs=sample())
    with pytest.raises(ValueError, match=r"^rule 'depthwise' must match a layer that MC.*depthwise conv"):
        convert(cnn(), [("depthwise", MC())], rngs=sample())
    with pytest.raises(ValueError, match=r"^rngs must hold the stream 'sample' .* for hidden .*, got params"):
        convert(cnn(), [("hidden", MC())], rngs=nnx.Rngs(params=0))
    assert convert(cnn(), [("hidden", MC())], rngs=nnx.Rngs(0))[1].methods


class Everywhere(nnx.Module):
    """Layers in all that NNX takes for a part of a model: private attributes, containers, objects, attention."""

    def __init__(self, rngs):
        def layer():
            return nnx.Linear(16, 16, rngs=rngs)

        self._mid = layer()
        self.listed = nnx.data([layer(), (layer(),)])
        self.named = nnx.data({"b": layer(), "a": nnx.Sequential(layer())})
        self.attention = nnx.MultiHeadAttention(2, 16, decode=False, rngs=rngs)
        self.shared = nnx.data([self._mid])
        self.up = nnx.ConvTranspose(16, 16, (2,), 2, rngs=rngs)
        self.mixed = nnx.Einsum("btc,cd->btd", (16, 16), rngs=rngs)

    def __call__(self, x):
        layers = self._mid, self.listed[0], self.listed[1][0], self.named["b"], self.named["a"], self.attention
        for layer in (*layers, *self.shared, self.up, self.mixed):
            x = layer(x)
        return x


EVERYWHERE = [
    "_mid",
    "listed/0",
    "listed/1/0",
    "named/b",
    "named/a/layers/0",
    "attention/query",
    "attention/key",
    "attention/value",
    "attention/out",
    "up",
    "mixed",
]


def test_layers_are_found_wherever_nnx_finds_them():
    """Once, in their order; evaluation is the model, which keeps its own arrays when the copy's are donated."""
    model = Everywhere(nnx.Rngs(0))
    sampled, report = convert(model, [("*", MC())], rngs=sample(), keep_ends=False)
    assert list(report.methods) == EVERYWHERE
    assert sampled.shared[0] is sampled._mid
    x = jax.random.normal(jax.random.key(4), (2, 3, 16))
    y = called(model, x)
    drawn = called(sampled, x)
    assert np.all(np.isfinite(drawn)) and np.any(drawn != y)
    sampled.eval()
    np.testing.assert_allclose(called(sampled, x), y, rtol=1e-5, atol=1e-5)
    jax.jit(lambda state: state, donate_argnums=0)(nnx.state(sampled))
    np.testing.assert_array_equal(called(model, x), y)


def test_abstract_models_become_abstract_models():
    """With the structure of a converted model of arrays, so that a state loads into it."""
    rules = [("_mid", ALSH()), ("*", MC())]
    abstract, report = convert(nnx.eval_shape(lambda: Everywhere(nnx.Rngs(0))), rules, rngs=sample(), keep_ends=False)
    concrete, _ = convert(Everywhere(nnx.Rngs(0)), rules, rngs=sample(), keep_ends=False)
    assert report.methods.keys() == set(EVERYWHERE)
    shapes = jax.eval_shape(lambda: nnx.state(concrete))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(nnx.state(abstract)))
    chex.assert_trees_all_equal(*(jax.tree.map(lambda a: (a.shape, a.dtype), s) for s in (nnx.state(abstract), shapes)))


def test_what_a_call_would_refuse_stays_exact_and_says_why():
    """A trial of the layer decides; a rule that names it in full is an error."""
    rngs = nnx.Rngs(0)
    sizes = dict(in_features=16, out_features=16, rngs=rngs)
    model = nnx.Sequential(
        nnx.Conv(**sizes, kernel_size=(3, 3, 3, 3)),
        nnx.Linear(**sizes, dot_general=lambda *args, **kwargs: jax.lax.dot_general(*args, **kwargs)),
        nnx.LinearGeneral(16, 16, rngs=rngs),
        nnx.Conv(**sizes, kernel_size=(3,), padding="CAUSAL", mask=jnp.ones((3, 16, 16)), strides=np.array([2])),
    )
    _, report = convert(model, [("*", MC())], rngs=sample(), keep_ends=False)
    assert list(report.methods) == ["layers/2", "layers/3"]
    assert "spatial axes" in report.outcomes[0].why and report.outcomes[1].why.startswith("dot_general must be None")
    with pytest.raises(ValueError, match=r"^rule 'layers/0' must match a layer that .* layers/0 \(.*spatial axes"):
        convert(model, [("layers/0", MC())], rngs=sample())
