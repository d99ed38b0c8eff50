"""The efficiency of whole models, Linen and NNX."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from quick_compilation import once

import jaxapprox.linen
import jaxapprox.nnx
from jaxapprox import ALSH, MC, SampledSoftmax
from jaxapprox._src.efficiency import timing
from jaxapprox.efficiency import measure

_KEY = jax.random.key(0)
_X = np.float32(np.random.default_rng(0).normal(size=(48, 16)))
_LABELS = np.arange(48) % 10
_EXACT = [("*", MC(ratio=1.0))]  # the whole sum: nothing is estimated
_SETTINGS = dict(key=_KEY, sizes=(8, 16), ladder=(1, 16))


@pytest.fixture(autouse=True)
def few_sizes(monkeypatch):
    monkeypatch.setattr(timing, "SIZES", (1, 16))


class _Net(nn.Module):
    """With statistics of batches, dropout and parameters in bfloat16."""

    @nn.compact
    def __call__(self, x, train):
        for _ in range(2):
            x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Dense(16, param_dtype=jnp.bfloat16)(x)))
            x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(10)(x)


class _NNXNet(nnx.Module):
    def __init__(self, rngs):
        self.first, self.norm = nnx.Linear(16, 16, param_dtype=jnp.bfloat16, rngs=rngs), nnx.BatchNorm(16, rngs=rngs)
        self.second, self.dropout = nnx.Linear(16, 16, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(16, 10, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.second(self.norm(self.first(x))))))


def _cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _loss(net, batch):
    return _cross_entropy(net(batch["x"], train=True), batch["labels"])


_EXAMPLES = {"x": _X, "labels": _LABELS}


def _assert_exact(found, layers):
    """Equal draws of dropout in both networks: not a trace of noise or bias."""
    assert list(found.noise.layers) == layers
    for moments in (found.noise.total, *found.noise.layers.values()):
        if moments.signal.value > 0:
            np.testing.assert_allclose([moments.a.value, moments.c.value, moments.bias.value], 0, atol=1e-3)
    assert found.exact_time(16) > 0 and found.sampled_time(16) > 0 and found.memory.exact > 0
    assert found.low <= found.value <= found.high


def test_linen():
    variables = once(_Net().init, {"params": _KEY}, _X, train=False)
    found = jaxapprox.linen.efficiency(_Net(), _EXACT, variables, _loss, _EXAMPLES, **_SETTINGS)
    _assert_exact(found, ["BatchNorm_0", "BatchNorm_1", "Dense_0", "Dense_1", "Dense_2"])


def test_nnx():
    model = _NNXNet(nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState))))

    def loss(model, batch):
        return _cross_entropy(model(batch["x"]), batch["labels"])

    found = jaxapprox.nnx.efficiency(model, _EXACT, loss, _EXAMPLES, **_SETTINGS)
    _assert_exact(found, ["first", "last", "norm", "second"])
    after = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState))))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    with pytest.raises(ValueError, match="rules must have no SampledSoftmax"):
        jaxapprox.nnx.efficiency(model, [("last", SampledSoftmax(size=4))], loss, _EXAMPLES, **_SETTINGS)
    with pytest.raises(ValueError, match=r"rules must approximate a layer, got none \(first: a rule says so"):
        jaxapprox.nnx.efficiency(model, [("*", None)], loss, _EXAMPLES, **_SETTINGS)


def test_a_sampled_softmax():
    """The exact network is given labels as well."""
    model = nn.Sequential([nn.Dense(16), nn.Dense(64)])
    variables = once(model.init, _KEY, _X)

    def loss(net, batch):
        return net(batch["x"], labels=batch["labels"]).mean()

    rules = [("layers_1", SampledSoftmax(size=16, proposal="uniform"))]
    found = jaxapprox.linen.efficiency(model, rules, variables, loss, _EXAMPLES, **_SETTINGS)
    assert found.noise.layers["layers_1"].a.value > 0.01 or found.noise.layers["layers_1"].c.value > 0.01


def test_tables_are_built_once():
    model = nn.Sequential([nn.Dense(16), nn.Dense(32), nn.Dense(10)])
    variables = once(model.init, _KEY, _X)

    def loss(net, batch):
        return _cross_entropy(net(batch["x"]), batch["labels"])

    rules = [("layers_1", ALSH(active=0.5))]
    found = jaxapprox.linen.efficiency(model, rules, variables, loss, _EXAMPLES, **_SETTINGS)
    assert found.noise.layers["layers_1"].bias.value > 0.1  # units that are not active have no gradient
    assert found.noise.layers["layers_2"].cosine.value < 1


def test_advice():
    """It is printed below the table, for the model as advised."""
    model = nn.Sequential([nn.Dense(16), nn.Dense(32), nn.Dense(10)])
    variables = once(model.init, _KEY, _X)

    def loss(net, batch):
        return _cross_entropy(net(batch["x"]), batch["labels"])

    examples = {"x": np.tile(_X, (4, 1)), "labels": np.tile(_LABELS, 4)}
    ask = dict(key=_KEY, loss=loss, examples=examples)
    advice = jaxapprox.linen.advise(model, [("layers_1", MC(ratio=0.5))], variables, _X, **ask)
    assert str(advice.efficiency) in str(advice) and "Efficiency" in str(advice)
    none = jaxapprox.linen.advise(model, [("*", MC(ratio=0.5))], variables, _X, max_error=1e-6, **ask)
    assert none.efficiency is None and none.rules == []
    with pytest.raises(ValueError, match="examples must be given with loss, got None"):
        jaxapprox.linen.advise(model, [("*", MC())], variables, _X, key=_KEY, loss=loss)


def _scalar(params, batch):
    return jnp.mean((batch - params[None]) ** 2)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ((_scalar, lambda key, p, z: z[:, 0]), "sampled_loss must return a scalar"),
        ((lambda p, z: _scalar(p, z) / 0, lambda key, p, z: _scalar(p, z)), "exact_loss must be finite, got inf"),
        ((_scalar, lambda key, p, z: _scalar(p, z) * jnp.nan), "sampled_loss must be finite, got nan"),
    ],
)
def test_losses_that_do_not_fit(losses, message):
    with pytest.raises(ValueError, match=message):
        measure(_KEY, *losses, jnp.zeros(16), _X)


def test_models_that_do_not_fit():
    model = nn.Sequential([nn.Dense(16), nn.Dense(10)])
    variables = once(model.init, _KEY, _X)
    ask = dict(variables=variables, examples=_EXAMPLES, **_SETTINGS)
    with pytest.raises(ValueError, match=r"rules must approximate a layer, got none \(layers_0: a rule says so"):
        jaxapprox.linen.efficiency(model, [("*", None)], loss=lambda net, batch: net(batch["x"]).mean(), **ask)
    with pytest.raises(ValueError, match="loss must call the net that it is given"):
        jaxapprox.linen.efficiency(model, _EXACT, loss=lambda net, batch: batch["x"].mean(), **ask)
