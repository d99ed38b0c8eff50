"""When approximating pays: what is recorded, measured and advised, in both Flax APIs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from flax_models import Pair, ResNet, Scanned
from quick_compilation import jit

import jaxapprox.nnx
from jaxapprox import ALSH, MC, conv, mc_conv, topk, uniform
from jaxapprox._src.conversion import advice
from jaxapprox.linen import advise, convert

_KEY = jax.random.key(7)


@pytest.fixture
def times(monkeypatch):
    """Two seconds exact, one second approximated, whatever the machine; no step is compiled."""
    monkeypatch.setattr(advice, "measure", lambda *_: advice.Cost(5e6, 3e6, 2.0, 1.0))
    monkeypatch.setattr(advice, "steps_of", lambda *_: None)
    monkeypatch.setattr(advice, "expected_seconds", lambda steps: 11.0 * len(steps))


@functools.cache
def _pair():
    model = Pair()
    x = jax.random.normal(jax.random.key(0), (4, 9, 8, 3))
    return model, jit(model.init)(jax.random.key(1), x), x


def _by_path(result):
    return {layer.layer.path: layer for layer in result.layers}


def test_a_product_without_a_relative_error(times):
    """A layer that is called with zeros alone, as on an RNN's first state, is left exact, and the reason is said."""
    model, x = nn.Sequential([nn.Dense(16)]), jnp.zeros((4, 16))
    (layer,) = advise(model, [("*", MC(ratio=0.5))], jit(model.init)(_KEY, x), x, key=_KEY, keep_ends=False).layers
    assert np.isnan(layer.error) and layer.method is None
    assert layer.why == "no relative error, for the product of its first call is 0 or not finite"


def test_a_measurement():
    """Nothing replaced: real times, FLOPs against a count by hand, the error against the layer's own operands."""
    model, variables, x = _pair()
    result = _by_path(advise(model, [("*", MC(ratio=0.5, sampler=topk))], variables, x, key=_KEY))
    assert list(result) == ["stem", "conv", "dense", "classifier"]
    assert result["stem"].cost is None and result["stem"].why == "the first layer (keep_ends)"
    cost = result["conv"].cost
    assert cost.seconds > 0 and cost.exact_seconds > 0
    dense = result["dense"].cost
    assert 3 * 2 * 4 * 24 * 32 <= dense.exact_flops < 1.1 * 3 * 2 * 4 * 24 * 32
    assert 0.5 * dense.exact_flops < dense.flops < 2.5 * dense.exact_flops  # so small a product costs more to choose

    params = variables["params"]
    h = nn.relu(nn.Conv(16, (3, 3)).apply({"params": params["stem"]}, x))
    settings = dict(strides=(2, 1), padding=1, kernel_dilation=2)
    kernel = params["conv"]["kernel"]
    y = conv(h, kernel, **settings)
    estimate = mc_conv(_KEY, h, kernel, ratio=0.5, sampler=topk, **settings)
    np.testing.assert_allclose(
        result["conv"].error, jnp.linalg.norm(estimate - y) / jnp.linalg.norm(y), rtol=1e-4, atol=0
    )


def test_work_is_counted():
    """A quarter of the channels of a layer that is large enough: less than half of the FLOPs."""
    model = nn.Sequential([nn.Dense(512), nn.Dense(512), nn.Dense(4)])
    x = jnp.ones((256, 8))
    result = advise(model, [("*", MC(ratio=0.25))], jit(model.init)(jax.random.key(0), x), x, key=_KEY)
    assert 0.2 < result.layers[1].cost.flops / result.layers[1].cost.exact_flops < 0.5


@pytest.mark.usefixtures("times")
def test_thresholds_and_orders():
    model, variables, x = _pair()
    every = [("*", MC(ratio=0.5, sampler=topk))]
    ask = functools.partial(advise, model, every, variables, x, key=_KEY)
    good = ask(max_error=10)
    assert good.rules == [("conv", every[0][1]), ("dense", every[0][1])]
    assert convert(model, good.rules, x).report.methods == dict(good.rules)
    assert (good.seconds("exact"), good.seconds("tried"), good.seconds()) == (4, 2, 2)

    slow = ask(min_speedup=2.5, max_error=10)
    assert slow.rules == [] and _by_path(slow)["conv"].why == "speed-up 2.00, below 2.5"
    assert slow.seconds() == 4
    y = convert(model, slow.rules, x).apply(variables, x)
    np.testing.assert_array_equal(y, model.apply(variables, x))

    noisy = _by_path(ask(max_error=1e-3))
    assert noisy["conv"].method is None
    assert noisy["conv"].why == f"error {noisy['conv'].error:.2f}, above 0.001"

    ordered = [("stem", MC(ratio=0.7)), *every]
    forced = advise(model, ordered, variables, x, key=_KEY, min_speedup=2.5, max_error=10)
    assert forced.rules == [("stem", MC(ratio=0.7))]
    assert _by_path(forced)["stem"].why == "a rule names it; speed-up 2.00, below 2.5"
    assert convert(model, forced.rules, x).report.methods == dict(forced.rules)


@pytest.mark.usefixtures("times")
def test_the_table():
    model, variables, x = _pair()
    lines = str(advise(model, [("*", MC(ratio=0.5, sampler=topk))], variables, x, key=_KEY, max_error=10)).splitlines()
    columns = ["layer", "in", "out", "calls", "MFLOPs", "approx.", "ms", "approx.", "speed-up", "error"]
    assert lines[0].split() == [*columns, "advice", "why"]
    row = lines[3].split()
    assert row[:9] == ["conv", "16", "24", "1", "5", "3", "2e+03", "1e+03", "2.00"]
    assert row[-2:] == ["MC(ratio=0.5,", "sampler=topk)"]
    assert lines[-1].endswith("exact 4e+03 ms, all approximated 2e+03 ms, as advised 2e+03 ms")


@pytest.mark.usefixtures("times")
def test_it_says_how_long_it_will_take(caplog):
    """Before the work, for all to see if that is long; equal layers are measured once."""
    model = nn.Sequential([nn.Dense(16) for _ in range(4)])
    x = jnp.ones((2, 16))
    with caplog.at_level("INFO", logger="jaxapprox"):
        advise(model, [("*", MC())], jit(model.init)(jax.random.key(0), x), x, key=_KEY)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "advise: it takes about 11 s to measure all kinds of layers (1)"),
        ("INFO", "advise: layers_1 is measured, 1 of 1 kinds of layers are"),
        ("INFO", "advise: layers_2 is measured, 1 of 1 kinds of layers are"),
    ]


@pytest.mark.usefixtures("times")
def test_linen_and_nnx_agree():
    model, variables, x = _pair()

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.stem = nnx.Conv(3, 16, (3, 3), rngs=rngs)
            self.conv = nnx.Conv(16, 24, (3, 3), (2, 1), padding=1, kernel_dilation=2, rngs=rngs)
            self.dense, self.classifier = nnx.Linear(24, 32, rngs=rngs), nnx.Linear(32, 10, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.conv(nnx.relu(self.stem(x))))
            return self.classifier(nnx.relu(self.dense(x.mean((1, 2)))))

    net = Net(nnx.Rngs(0))
    for name, params in variables["params"].items():
        getattr(net, name).kernel[...] = params["kernel"]
        getattr(net, name).bias[...] = params["bias"]
    rules = [("conv", MC(ratio=0.3, sampler=uniform)), ("dense", ALSH(active=0.2)), ("*", None)]
    ours = advise(model, rules, variables, x, key=_KEY)
    theirs = jaxapprox.nnx.advise(net, rules, x, key=_KEY)
    np.testing.assert_allclose([a.error for a in theirs.layers], [a.error for a in ours.layers], rtol=1e-5)
    for a, b in zip(theirs.layers, ours.layers, strict=True):
        assert a.layer == b.layer._replace(kind=a.layer.kind)
        assert a._replace(layer=None, error=0) == b._replace(layer=None, error=0)
    assert ours.rules == rules[:2]


@pytest.mark.usefixtures("times")
def test_an_nnx_model_is_left_as_it_was():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(8, 16, dtype=jnp.bfloat16, rngs=rngs)
            self.norm, self.dropout = nnx.BatchNorm(16, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dropout(self.norm(self.dense(self.dense(x)[:, :8])))

    net = Net(nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(net, nnx.Not(nnx.RngKey))))
    result = jaxapprox.nnx.advise(net, [("dense", MC(sampler=topk))], jnp.ones((4, 8)), key=_KEY)
    after = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(net, nnx.Not(nnx.RngKey))))
    chex.assert_trees_all_equal(before, after)
    assert net.dense.dot_general is jax.lax.dot_general
    assert result.layers[0].calls == 2 and np.isfinite(result.layers[0].error)


@pytest.mark.usefixtures("times")
def test_layers_that_are_traced():
    """In a scan each turn is a call; under remat and vmap there are arrays too."""
    x = jax.random.normal(jax.random.key(0), (4, 16))
    scanned = Scanned(3, {"params": True}, {"params": 0})
    variables = jit(scanned.init)(jax.random.key(1), x)
    result = advise(scanned, [("layers/dense", MC(ratio=0.5, sampler=topk))], variables, x, key=_KEY)
    kernel = variables["params"]["layers"]["dense"]["kernel"][0]
    assert (result.layers[0].calls, result.seconds("exact")) == (3, 6)
    expected = _topk_error(x, kernel)
    np.testing.assert_allclose(result.layers[0].error, expected, rtol=1e-4)

    resnet = ResNet((1,), 16, remat=True, dtype=jnp.bfloat16)
    image = jnp.ones((2, 16, 16, 3)) + jax.random.normal(jax.random.key(2), (2, 16, 16, 3))
    variables = jit(resnet.init)(jax.random.key(1), image)
    result = _by_path(advise(resnet, [("*/Conv_*", MC(sampler=topk))], variables, image, key=_KEY))
    assert result["stage0_block0/Conv_1"].calls == 1 and 0 < result["stage0_block0/Conv_1"].error < 1

    mapped = nn.vmap(nn.Dense, variable_axes={"params": None}, split_rngs={"params": False}, in_axes=1)(32)
    variables = jit(mapped.init)(jax.random.key(1), x[:, None].repeat(2, 1))
    result = advise(mapped, [("*", MC(sampler=topk))], variables, x[:, None].repeat(2, 1), key=_KEY, keep_ends=False)
    assert (result.layers[0].calls, result.layers[0].layer.outputs) == (2, 32)
    np.testing.assert_allclose(result.layers[0].error, _topk_error(x, variables["params"]["kernel"]), rtol=1e-4)


def _topk_error(x, kernel):
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    scores = np.linalg.norm(x, axis=0) * np.linalg.norm(kernel, axis=1)
    kept = np.argsort(-scores)[: len(scores) // 2]
    y = x @ kernel
    return np.linalg.norm(x[:, kept] @ kernel[kept] - y) / np.linalg.norm(y)


@pytest.mark.usefixtures("times")
def test_a_layer_that_is_not_called():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, other=True):
            x = nn.Dense(16, name="first")(x)
            return nn.Dense(16, name="second")(x) if other or self.is_initializing() else x

    x = jnp.ones((2, 16))
    variables = jit(Two().init)(jax.random.key(0), x)
    result = advise(Two(), [("*", MC(sampler=topk))], variables, x, other=False, key=_KEY, keep_ends=False)
    assert _by_path(result)["second"].why == "it was not called" and "second" not in dict(result.rules)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(min_speedup=0), "min_speedup must be a positive number, got 0"),
        (dict(max_error=float("nan")), "max_error must be a positive number, got nan"),
        (dict(rules=[("nothing", MC())]), "rule 'nothing' must match a layer"),
        (
            dict(rules=[("conv", MC(sampler=lambda key, scores, n: topk(key, scores, n)))]),
            "sampler must state its second moments",
        ),
        (dict(rules=[("conv", ALSH())]), "conv .ALSH is for dense layers"),
    ],
)
def test_bad_input(settings, message):
    model, variables, x = _pair()
    settings = {"rules": [("*", MC())], **settings}
    with pytest.raises(ValueError, match=message):
        advise(model, settings.pop("rules"), variables, x, key=_KEY, **settings)
