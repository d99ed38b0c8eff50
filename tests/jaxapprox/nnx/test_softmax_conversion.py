"""`jaxapprox.nnx.convert` with a `SampledSoftmax`: a model's last layer returns a loss where labels are given."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from oracles import vectors

from jaxapprox import MC, SampledSoftmax
from jaxapprox.nnx import advise, call_with_labels, convert

CLASSES = 30
X, LABELS = jnp.asarray(vectors(0, 4, 20)), jnp.array([3, 0, 29, 7])
HEAD = [("head", SampledSoftmax(size=8))]


def rngs():
    return nnx.Rngs(params=0, sample=1)


class Model(nnx.Module):
    def __init__(self, is_normalised=False):
        self.body, self.norm = nnx.Linear(20, 20, rngs=rngs()), nnx.BatchNorm(20, rngs=rngs())
        self.head = nnx.Linear(20, CLASSES, rngs=rngs())
        self.is_normalised = is_normalised

    def __call__(self, x):
        y = self.head(nnx.relu(self.norm(self.body(x))))
        return nnx.log_softmax(y) if self.is_normalised else y


class Tied(nnx.Module):
    def __init__(self):
        self.embed, self.body = nnx.Embed(CLASSES, 20, rngs=rngs()), nnx.Linear(20, 20, rngs=rngs())

    def __call__(self, ids):
        return self.embed.attend(self.body(self.embed(ids)))


@pytest.mark.parametrize(("kind", "path", "x"), [(Model, "head", X), (Tied, "embed", LABELS)])
def test_the_loss_stands_in_the_place_of_the_logits(kind, path, x):
    """Of all classes it is that of the logits, with its gradients; without labels nothing has changed."""
    model = kind()
    converted, report = convert(model, [(path, SampledSoftmax(size=None))], x, rngs=rngs())
    assert list(report.methods) == [path]

    def plain(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), LABELS).mean()

    np.testing.assert_array_equal(converted(x), model(x))
    actual = nnx.jit(nnx.value_and_grad(lambda model: call_with_labels(model, LABELS, x).mean()))(converted)
    expected = nnx.jit(nnx.value_and_grad(plain))(model)
    for own, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)
    sampled, _ = convert(model, [(path, SampledSoftmax(size=8))], x, rngs=rngs())
    call = nnx.jit(lambda model: call_with_labels(model, LABELS, x))
    first, second = call(sampled), call(sampled)
    assert np.abs(first - second).max() > 1e-3
    sampled.eval()
    np.testing.assert_array_equal(call(sampled), call(sampled))


@pytest.mark.parametrize(
    ("model", "rules", "args", "why"),
    [
        (Model(), [("body", SampledSoftmax(size=8))], [X], "its output must be the model's and serve nothing else"),
        (Model(is_normalised=True), HEAD, [X], "its output must be the model's and serve nothing else"),
        (Model(), HEAD, [], "convert must be given what the model is called with"),
        (Model(), [("head", SampledSoftmax(size=31))], [X], "size must be an integer between 1 and 30"),
    ],
)
def test_what_can_not_be_replaced_is_refused(model, rules, args, why):
    """A rule that names it is an error of one line; one with a wildcard leaves it exact, and the report says why."""
    with pytest.raises(ValueError, match=rf"^rule [^\n]*{why}[^\n]*$"):
        convert(model, rules, *args, rngs=rngs())
    assert why in str(convert(model, [("*", rules[0][1])], *args, rngs=rngs())[1])


def test_a_wildcard_finds_the_last_layer():
    """In an abstract model too; other rules take the rest, and `advise` leaves it to its rule."""
    rules, x = [("h*", SampledSoftmax(size=8)), ("*", MC(0.5))], jax.ShapeDtypeStruct(X.shape, X.dtype)
    _, report = convert(nnx.eval_shape(Model), rules, x, rngs=rngs(), keep_ends=False)
    assert {path: type(method) for path, method in report.methods.items()} == {"body": MC, "head": SampledSoftmax}
    advice = advise(Model(), rules, X, key=jax.random.key(0), keep_ends=False, max_error=1e-6)
    assert [path for path, _ in advice.rules] == ["head"]
