"""`jaxapprox.linen.convert` with a `SampledSoftmax`: a model's last layer returns a loss where labels are given."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.errors import InvalidRngError
from oracles import vectors
from quick_compilation import jit, once

from jaxapprox import MC, SampledSoftmax
from jaxapprox.linen import SampledSoftmaxDense, advise, convert

CLASSES = 30
X, LABELS = jnp.asarray(vectors(0, 4, 20)), jnp.array([3, 0, 29, 7])
RNGS = {"sample": jax.random.key(7)}
HEAD = [("head", SampledSoftmax(size=8))]
EXACT = [("head", SampledSoftmax(size=None))]


class Model(nn.Module):
    """A model with a head of a class to choose, and what comes after it."""

    head: type = nn.Dense
    after: str = ""

    @nn.compact
    def __call__(self, x, **given):
        x = nn.relu(nn.Dense(20, name="body")(x))
        y = self.head(CLASSES, name="head")(x, **given)
        if self.after == "cast":
            return y.astype(jnp.bfloat16)
        if self.after == "beside others":
            return {"logits": y, "hidden": x}
        if self.after == "softmax":
            return nn.softmax(y)
        return (y, y.max()) if self.after == "used" else y


class Tied(nn.Module):
    def setup(self):
        self.embed, self.body = nn.Embed(CLASSES, 20), nn.Dense(20)

    def __call__(self, ids):
        return self.embed.attend(self.body(self.embed(ids)))


VARIABLES = Model().init(jax.random.key(1), X)


def test_the_loss_stands_in_the_place_of_the_logits():
    """It is that of the model written with our layer, with its gradients; without labels nothing has changed."""
    converted = convert(Model(), HEAD, X)

    class Head(SampledSoftmaxDense):
        size: int = 8
        deterministic: bool = False

    ours = Model(Head)
    chex.assert_trees_all_equal(converted.init(jax.random.key(1), X, labels=LABELS), VARIABLES)
    (actual, expected) = (
        jit(jax.value_and_grad(lambda v, m=m: m.apply(v, X, labels=LABELS, rngs=RNGS).mean()))(VARIABLES)
        for m in (converted, ours)
    )
    chex.assert_trees_all_close(actual, expected, rtol=1e-6)
    np.testing.assert_array_equal(converted.apply(VARIABLES, X), Model().apply(VARIABLES, X))
    bound = converted.bind(VARIABLES, rngs=RNGS)
    np.testing.assert_allclose(bound(X, labels=LABELS).mean(), actual[0], rtol=1e-6)
    with pytest.raises(InvalidRngError, match=r"^rngs must hold a key for 'sample', from which head draws"):
        converted.apply(VARIABLES, X, labels=LABELS)


@pytest.mark.parametrize("after", ["", "cast", "beside others"])
def test_all_classes_without_a_key(after):
    """In blocks, without a stream: the loss of the logits, wherever these are in what the model returns."""
    model = Model(after=after)
    loss, logits = (
        once(converted.apply, VARIABLES, X, **options)
        for converted, options in ((convert(model, EXACT, X), {"labels": LABELS}), (model, {}))
    )
    if after == "beside others":
        np.testing.assert_array_equal(loss["hidden"], logits["hidden"])
        loss, logits = loss["logits"], logits["logits"]
    assert loss.dtype == logits.dtype
    expected = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), LABELS)
    np.testing.assert_allclose(loss.astype(jnp.float32), expected, rtol=1e-5 if after != "cast" else 0.02)


def test_tied_weights():
    """The `attend` of an embedding: the loss of its logits, and gradients of both of its uses."""
    converted = convert(Tied(), [("embed", SampledSoftmax(size=None))], LABELS)
    assert [(o.layer.kind, o.layer.inputs, o.layer.outputs) for o in converted.report.outcomes if o.method] == [
        ("Embed", 20, CLASSES)
    ]
    variables = Tied().init(jax.random.key(1), LABELS)

    def plain(variables):
        logits = Tied().apply(variables, LABELS)
        return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()

    actual = jit(jax.value_and_grad(lambda v: converted.apply(v, LABELS, labels=LABELS).mean()))(variables)
    chex.assert_trees_all_close(actual, jit(jax.value_and_grad(plain))(variables), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(converted.apply(variables, LABELS), Tied().apply(variables, LABELS))


@pytest.mark.parametrize(
    ("model", "rules", "why"),
    [
        (Model(), [("body", SampledSoftmax(size=8))], "its output must be the model's and serve nothing else"),
        (Model(after="softmax"), HEAD, "its output must be the model's and serve nothing else"),
        (Model(after="used"), HEAD, "its output must be the model's and serve nothing else"),
        (Model(), [("head", SampledSoftmax(size=31))], "size must be an integer between 1 and 30"),
        (nn.Sequential([nn.DenseGeneral(30)]), [("layers_0", SampledSoftmax())], "SampledSoftmax is for dense layers"),
    ],
)
def test_what_can_not_be_replaced_is_refused(model, rules, why):
    """A rule that names it is an error of one line; one with a wildcard leaves it exact, and the report says why."""
    with pytest.raises(ValueError, match=rf"^rule [^\n]*{why}[^\n]*$"):
        convert(model, rules, X)
    rules = [("*", rules[0][1])]
    if "dense layers" not in why:
        assert why in str(convert(model, rules, X).report)


def test_a_layer_within_a_compiled_program_is_refused():
    """The labels would be constants of what `nn.jit` keeps."""
    with pytest.raises(ValueError, match=r"^rule 'head' must match a layer that"):
        convert(nn.jit(Model)(), HEAD, X)


def test_a_wildcard_finds_the_last_layer():
    """`keep_ends` is not for it; other rules take the rest, and `advise` leaves it to its rule."""
    rules = [("h*", SampledSoftmax(size=8)), ("*", MC(0.5))]
    report = convert(Model(), rules, X, keep_ends=False).report
    assert [type(outcome.method) for outcome in report.outcomes] == [MC, SampledSoftmax]
    advice = advise(Model(), rules, VARIABLES, X, key=jax.random.key(0), keep_ends=False, max_error=1e-6)
    assert [path for path, _ in advice.rules] == ["head"]
    assert "not measured" in str(advice)


def test_a_models_own_labels():
    class Labelled(nn.Module):
        @nn.compact
        def __call__(self, x, labels=None):
            return nn.Dense(CLASSES, name="head")(x)

    with pytest.raises(ValueError, match=r"^model must have no argument labels of its own for a SampledSoftmax"):
        convert(Labelled(), HEAD, X)
