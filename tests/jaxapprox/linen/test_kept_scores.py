"""The collection "scores" of Linen layers: what their rows were drawn by, kept for later calls."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxapprox import MC
from jaxapprox.linen import MCConv, MCConvTranspose, MCDense, MCDenseGeneral, MCEinsum, convert

KEY, X = jax.random.key(1), jax.random.normal(jax.random.key(0), (3, 5, 4, 8))
LAYERS = {
    "conv": MCConv(4, (3, 3)),
    "transposed": MCConvTranspose(4, (3, 3), (2, 2)),
    "dense": MCDense(4),
    "general": MCDenseGeneral(4, axis=(-2, -1)),
    "einsum": MCEinsum((8, 4), "...d,dh->...h"),
}


def apply(layer, variables, x=X, key=KEY, **settings):
    return layer.apply(variables, x, deterministic=False, rngs={"sample": key}, **settings)


@pytest.mark.parametrize("kind", LAYERS)
def test_scores_are_kept_where_they_are_mutable(kind):
    """A call by those that were kept is that which kept them, to the bit, and on other inputs is not by their own."""
    layer = LAYERS[kind]
    variables = layer.init({"params": KEY, "sample": KEY}, X, deterministic=False)
    assert set(variables) == {"params"}
    y, updated = apply(layer, variables, mutable=["scores"])
    assert set(updated) == {"scores"} and list(updated["scores"]) == ["rows"]
    chex.assert_trees_all_equal(y, apply(layer, variables), apply(layer, {**variables, **updated}))
    only_last = {"scores": {"rows": jnp.zeros_like(updated["scores"]["rows"]).at[-1].set(1e6)}}
    assert (apply(layer, {**variables, **only_last}) != y).any()
    exact = layer.apply({**variables, **updated}, X, deterministic=True)
    chex.assert_trees_all_equal(exact, layer.apply(variables, X, deterministic=True))


@pytest.mark.parametrize("settings", [dict(mode="backward"), dict(mode="kernel"), dict(ratio=1.0)], ids=str)
def test_nothing_is_kept_where_no_row_of_the_output_is_drawn(settings):
    layer = MCDense(4, **settings)
    variables = layer.init(KEY, X, deterministic=True)
    y, updated = apply(layer, variables, mutable=["scores"])
    assert not updated.get("scores")
    chex.assert_trees_all_equal(y, apply(layer, variables))


class Net(nn.Module):
    """Two convolutions, the second one scanned over itself, and a dense layer."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3), name="first")(x)
        scanned = nn.scan(
            lambda conv, x, _: (conv(x), None), variable_broadcast="params", split_rngs={"params": False}, length=2
        )
        x, _ = scanned(nn.Conv(16, (3, 3), name="again"), x, None)
        return nn.Dense(3, name="last")(x.mean((1, 2)))


def test_converted_models_keep_scores():
    """Those of layers whose variables lie within a scan without that collection are not kept, but computed anew."""
    model = Net()
    converted = convert(model, [("first", MC(ratio=0.5)), ("again", MC(ratio=0.5)), ("last", MC(ratio=0.5))], X)
    variables = model.init(KEY, X)
    y, updated = converted.apply(variables, X, rngs={"sample": KEY}, mutable=["scores"])
    assert jax.tree.map(np.shape, updated) == {"scores": {"first": {"rows": (8,)}, "last": {"rows": (16,)}}}
    chex.assert_trees_all_equal(y, converted.apply({**variables, **updated}, X, rngs={"sample": KEY}))


def test_scores_of_another_layer_are_refused():
    layer = MCDense(4)
    variables = layer.init(KEY, X, deterministic=True)
    with pytest.raises(
        ValueError, match=r"scores must be a floating array of shape \(8,\), got float32 of shape \(9,\)"
    ):
        apply(layer, {**variables, "scores": {"rows": jnp.ones(9)}})


def test_a_scan_of_steps_by_kept_scores():
    """As a training loop would have it: scores from the first step, and draws of their own in those that follow."""
    layer = MCDense(4)
    variables = layer.init(KEY, X, deterministic=True)

    @jax.jit
    def steps(variables, keys):
        y, kept = apply(layer, variables, key=keys[0], mutable=["scores"])
        return y, jax.lax.scan(lambda _, key: (None, apply(layer, {**variables, **kept}, key=key)), None, keys[1:])[1]

    keys = jax.random.split(KEY, 4)
    first, later = steps(variables, keys)
    for key, y in zip(keys, [first, *later], strict=True):  # on the same inputs kept scores are one's own
        np.testing.assert_allclose(y, apply(layer, variables, key=key), rtol=1e-5, atol=1e-6)
    assert (later[0] != later[1]).any()
