"""The NNX layers: those of Linen for equal parameters and keys, Flax's own in all but the estimate."""

import pickle

import chex
import compiled_lsh
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxapprox import linen, topk
from jaxapprox.nnx import AdaptiveDropout, ALSHDense, HashTable, MCConv, MCDense, rehash

IMAGES = jax.random.normal(jax.random.key(0), (2, 6, 5, 8))
VECTORS = jax.random.normal(jax.random.key(0), (4, 8))
GEOMETRY = dict(strides=(2, 1), padding=1, kernel_dilation=(1, 2))
MC_OPTIONS = dict(ratio=0.5, mode="straight_through", min_samples=2, sampler=topk)
HASHING = dict(active=0.2, num_tables=4, num_bits=3, transform="simple", select="count", shared=True, form="masked")

# The same layer by both APIs, and its input.
PAIRS = {
    "conv": (
        lambda o, rngs: MCConv(8, 6, (3, 2), **GEOMETRY, **MC_OPTIONS, unit="edge", **o, rngs=rngs),
        lambda base, o: base(linen.MCConv)(6, (3, 2), **GEOMETRY, **MC_OPTIONS, unit="edge", **o),
        IMAGES,
    ),
    "images of sequences": (
        lambda o, rngs: MCConv(8, 6, (3, 2), **o, rngs=rngs),
        lambda base, o: base(linen.MCConv)(6, (3, 2), **o),
        IMAGES[:, None],
    ),
    "dense": (
        lambda o, rngs: MCDense(8, 6, **MC_OPTIONS, **o, rngs=rngs),
        lambda base, o: base(linen.MCDense)(6, **MC_OPTIONS, **o),
        VECTORS.reshape(2, 2, 8),
    ),
    "blocks": (
        lambda o, rngs: MCDense(8, 6, **MC_OPTIONS, unit="block", block_size=2, implementation="xla", **o, rngs=rngs),
        lambda base, o: base(linen.MCDense)(6, **MC_OPTIONS, unit="block", block_size=2, implementation="xla", **o),
        VECTORS,
    ),
    "hashed": (
        lambda o, rngs: ALSHDense(8, 40, **HASHING, **o, rngs=rngs),
        lambda base, o: base(linen.ALSHDense)(40, **HASHING, **o),
        VECTORS,
    ),
}
layers = pytest.mark.parametrize("name", PAIRS)


def streams(seed=0):
    return nnx.Rngs(params=seed, sample=seed + 1)


def spying(layer):
    """A subclass of a Linen layer that remembers the keys it is given, and the list of them."""
    keys = []

    class Spy(layer):
        def make_rng(self, name):
            keys.append(super().make_rng(name))
            return keys[-1]

    Spy.keys = keys
    return Spy


@layers
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_same_numbers_as_linen(name, dtype):
    """To the bit, in training and evaluation: parameters of one, the key that the other's stream gave."""
    make, make_linen, x = PAIRS[name]
    options = dict(dtype=dtype, bias_init=nnx.initializers.normal())
    layer, reference = make(options, streams()), make_linen(spying, options)
    variables = {"params": {"kernel": layer.kernel[...], "bias": layer.bias[...]}}
    if isinstance(layer, ALSHDense):
        variables["lsh"] = {"tables": layer.tables.load()}
    expected = reference.apply(variables, x, deterministic=False, rngs={"sample": jax.random.key(3)})
    actual = layer(x, rngs=reference.keys[-1])
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
    layer.eval()
    exact = reference.apply(variables, x, deterministic=True)
    np.testing.assert_array_equal(layer(x), exact)
    assert np.any(np.asarray(exact) != np.asarray(actual))


def test_adaptive_dropout_is_that_of_linen():
    z = VECTORS
    for options in ({}, dict(alpha=0.5, beta=1.0, rule="released", activation=nnx.tanh)):
        layer, reference = AdaptiveDropout(**options, rngs=streams()), spying(linen.AdaptiveDropout)(**options)
        expected = reference.apply({}, z, deterministic=False, rngs={"sample": jax.random.key(3)})
        np.testing.assert_array_equal(layer(z, rngs=reference.keys[-1]), expected)
        np.testing.assert_array_equal(layer(z, deterministic=True), reference.apply({}, z, deterministic=True))
    assert not nnx.state(layer, nnx.Param)


@pytest.mark.parametrize("use_bias", [True, False])
def test_parameters_of_hashed_layers_are_those_of_flax(use_bias):
    """The same names, shapes and, for the same key, values; a state moves both ways, and evaluation is exact."""
    exact = nnx.Linear(8, 6, use_bias=use_bias, rngs=streams())
    ours = ALSHDense(8, 6, use_bias=use_bias, rngs=streams())
    chex.assert_trees_all_equal(*(nnx.to_pure_dict(nnx.state(layer, nnx.Param)) for layer in (ours, exact)))
    nnx.update(exact, nnx.state(ours, nnx.Param))
    nnx.update(ours, nnx.state(exact, nnx.Param))
    ours.eval()
    np.testing.assert_allclose(ours(VECTORS), exact(VECTORS), rtol=1e-5, atol=1e-5)


class Net(nnx.Module):
    """One of each, with an `nnx.Dropout` of its own stream."""

    def __init__(self, rngs):
        self.conv = MCConv(8, 16, (3, 3), rngs=rngs)
        self.hidden = ALSHDense(16, 30, active=0.2, rngs=rngs)
        self.dropout = AdaptiveDropout(rngs=rngs)
        self.output = MCDense(30, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.conv(x)).mean((1, 2))
        return self.output(self.dropout(self.hidden(x)))


@nnx.jit
def made(rngs):
    """A network, by one program."""
    return Net(rngs)


@nnx.jit
def called(net):
    return net(IMAGES)


def test_train_and_eval_switch_all_of_a_model():
    net = made(streams())
    assert np.any(called(net) != called(net))  # each call draws anew
    net.eval()
    np.testing.assert_array_equal(called(net), called(net))
    net.train()
    assert np.any(called(net) != called(net))


def test_streams_are_forks():
    """Layers made from one stream draw apart, and use up nothing of what others draw from later."""
    rngs = streams()
    first, second = (MCDense(8, 6, rngs=rngs) for _ in range(2))
    assert len({tuple(map(int, jax.random.key_data(layer.rngs()))) for layer in (first, first, second, second)}) == 4


def test_one_result_for_a_key_under_jit_vmap_and_scan():
    """And the draws of a mapped stream differ."""
    layer = MCDense(8, 6, sampler=topk, rngs=streams())
    graph, state = nnx.split(layer)
    keys = jax.random.split(jax.random.key(5), 3)

    def output(key):
        return nnx.merge(graph, state)(VECTORS, rngs=key)

    expected = jnp.stack([output(key) for key in keys])
    for actual in (jax.jit(jax.vmap(output))(keys), lax.map(jax.checkpoint(output), keys)):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,))
    def make(rngs):
        return Net(rngs)

    nets = nnx.jit(make)(streams())
    drawn = nnx.vmap(lambda net: net.rngs(), in_axes=(0,))(nets.conv)
    assert len(np.unique(jax.random.key_data(drawn), axis=0)) == 3
    ys = nnx.jit(nnx.vmap(lambda net, x: net(x), in_axes=(0, None)))(nets, IMAGES)
    assert ys.shape == (3, 2, 3) and np.any(ys[0] != ys[1])
    nnx.jit(rehash)(nets)
    kernels = nets.hidden.kernel[...]
    tables = nets.hidden.tables.load()
    for i in range(3):
        one = jax.tree.map(lambda array, i=i: array[i], tables)
        chex.assert_trees_all_equal(compiled_lsh.rebuild(one, kernels[i].T), one)


def test_trains_with_rehashing():
    """An `nnx.grad` step in `nnx.jit`: every parameter moves, the tables only when they are rehashed."""
    net = made(streams())
    target = jnp.asarray([[1.0, -1.0, 0.5]])

    @nnx.jit
    def step(net):
        loss, grads = nnx.value_and_grad(lambda net: jnp.mean(jnp.square(net(IMAGES) - target)))(net)
        params = nnx.state(net, nnx.Param)
        nnx.update(net, jax.tree.map(lambda p, g: p - 0.1 * g, params, grads))
        return loss

    def arrays(kind):
        return jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(net, kind)))

    params, tables = arrays(nnx.Param), arrays(HashTable)
    losses = [step(net) for _ in range(40)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: np.any(a != b), arrays(nnx.Param), params)))
    chex.assert_trees_all_equal(arrays(HashTable), tables)
    before = net.hidden.tables.load()
    nnx.jit(rehash)(net)
    chex.assert_trees_all_equal(net.hidden.tables.load(), compiled_lsh.rebuild(before, net.hidden.kernel[...].T))
    assert np.any(net.hidden.tables.load().codes != before.codes)


def test_diagnostics():
    """Found by the same rule as a call's sets; with everything active, recall is 1."""
    layer = ALSHDense(8, 40, active=0.2, rngs=streams())
    key = jax.random.key(1)
    active = np.asarray(layer(VECTORS, rngs=key)) != 0
    for row, ids in zip(active, np.asarray(layer.active_set(VECTORS, rngs=key)), strict=True):
        np.testing.assert_array_equal(np.flatnonzero(row), np.sort(ids))
    assert 0 <= layer.diagnose(VECTORS, rngs=key).recall <= 1
    assert ALSHDense(8, 40, active=1.0, rngs=streams()).diagnose(VECTORS).recall == 1


@pytest.mark.parametrize("units", [40, 2100])
def test_tables_that_have_lived(units):
    """A pickled state of NumPy arrays and a pure dict load into another layer, which is then the same."""
    layer, other = (ALSHDense(8, units, active=0.1, rngs=streams(seed)) for seed in (0, 5))
    kinds = nnx.Any(nnx.Param, HashTable)
    state = pickle.loads(pickle.dumps(jax.device_get(nnx.state(layer, kinds))))
    pure = nnx.state(other, kinds)
    nnx.replace_by_pure_dict(pure, jax.device_get(nnx.to_pure_dict(nnx.state(layer, kinds))))
    for restored in (state, pure):
        nnx.update(other, restored)
        np.testing.assert_array_equal(other(VECTORS, rngs=jax.random.key(3)), layer(VECTORS, rngs=jax.random.key(3)))
        rehash(other)
        chex.assert_trees_all_equal(other.tables.load(), layer.tables.load())


def test_hashed_evaluation():
    layer = ALSHDense(8, 40, hashed_evaluation=True, rngs=streams())
    layer.eval()
    np.testing.assert_array_equal(np.count_nonzero(layer(VECTORS), axis=1), 2)


def test_the_default_stream_serves():
    """At construction and in a call, as for `nnx.Dropout`; without one, the stream is named."""
    layer = MCDense(8, 6, rngs=nnx.Rngs(0))
    assert np.any(layer(VECTORS) != layer(VECTORS))
    np.testing.assert_array_equal(layer(VECTORS, rngs=nnx.Rngs(2)), layer(VECTORS, rngs=nnx.Rngs(sample=2)))
    for make in (
        lambda rngs: MCConv(8, 6, (3, 3), rngs=rngs),
        lambda rngs: ALSHDense(8, 6, rngs=rngs),
        lambda rngs: AdaptiveDropout(rngs=rngs),
    ):
        with pytest.raises(ValueError, match=r"^rngs must hold the stream 'sample' or a default .* \w+, got params"):
            make(nnx.Rngs(params=0))
    layer = MCDense(8, 6, rng_collection="draws", rngs=nnx.Rngs(params=0, draws=1))
    with pytest.raises(ValueError, match=r"^rngs must hold the stream 'draws' .* for MCDense, got sample"):
        layer(VECTORS, rngs=nnx.Rngs(sample=0))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda rngs: MCConv(8, 6, (3, 3), ratio=0, rngs=rngs), "ratio"),
        (lambda rngs: MCConv(8, 6, (3, 3), unit="tap", rngs=rngs), "unit"),
        (lambda rngs: MCConv(8, 6, (3, 3), rngs=rngs)(VECTORS[0]), "MCConv: inputs"),
        (lambda rngs: MCDense(8, 6, mode="both", rngs=rngs), "mode"),
        (lambda rngs: ALSHDense(8, 6, active=2, rngs=rngs), "active"),
        (lambda rngs: ALSHDense(8, 6, num_bits=0, rngs=rngs), "num_bits"),
        (lambda rngs: AdaptiveDropout(rule="coin", rngs=rngs)(VECTORS), "rule"),
    ],
    ids=["ratio", "unit", "inputs", "mode", "active", "bits", "rule"],
)
def test_bad_options_are_named(make, name):
    with pytest.raises(ValueError, match=f"^{name} must "):
        make(streams())
