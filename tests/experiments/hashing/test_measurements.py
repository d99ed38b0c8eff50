"""The measurements of Appendix B stand on arrays that are what they claim to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_lsh import build

from experiments.hashing.filters import ConvLayer
from experiments.hashing.measurements import family_per_node, hashed_conv, masked_nodes, unmasked_fraction
from jaxapprox import conv


def layer(strides, size=5):
    x = jax.random.normal(jax.random.key(0), (3, size, size, 2))
    return ConvLayer("layer", x, jax.random.normal(jax.random.key(1), (3, 3, 2, 4)), strides)


@pytest.mark.parametrize("strides", [1, 2])
def test_patches_and_filters_give_the_convolution(strides):
    """With every filter active the hashed convolution is the exact one, position by position; with some, at those."""
    one = layer(strides)
    exact = np.asarray(conv(one.inputs, one.kernel, strides=strides)).reshape(-1, 4)
    filters = one.kernel.transpose(2, 0, 1, 3).reshape(-1, 4).T
    tables = build(jax.random.key(2), filters)
    for size in (2, 4):
        y, ids = hashed_conv(jax.random.key(3), tables, one, size=size, select="union")
        np.testing.assert_allclose(y, np.take_along_axis(exact, np.asarray(ids), 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strides", [1, 2])
def test_masked_nodes_are_the_convolution(monkeypatch, strides):
    """The matrix of masked weight vectors times a whole image is the convolution's output."""
    one, seen = layer(strides), {}
    monkeypatch.setattr(
        "experiments.hashing.measurements._found", lambda keys, weights, x, *rest: seen.update(w=weights, x=x) or {}
    )
    facts = masked_nodes(jax.random.split(jax.random.key(0), 2), one)
    exact = conv(one.inputs, one.kernel, strides=strides)
    np.testing.assert_allclose(seen["x"] @ seen["w"].T, exact.reshape(3, -1), rtol=1e-4, atol=1e-4)
    assert facts["nodes"] == exact[0].size and facts["inputs"] == 50


def test_recall_of_the_masked_is_counted_and_bounded():
    """Chance is the active share, and over 20 sets of hash functions collisions are about as many as theory says."""
    found = masked_nodes(jax.random.split(jax.random.key(0), 20), layer(1, size=8))
    assert len(found["recall"]) == 20 and found["chance"] == pytest.approx(0.05, abs=0.01)
    for measured, expected in (("active_collide", "active_expected"), ("all_collide", "all_expected")):
        spread = np.std(found[measured], ddof=1) / np.sqrt(20)
        assert abs(np.mean(found[measured]) - np.mean(found[expected])) < 5 * spread + 0.05


def test_a_family_for_each_node_is_extrapolated_by_nodes():
    """Bytes of all nodes of a layer are those measured, in proportion; a layer of few nodes is measured whole."""
    one = layer(1, size=16)
    facts = family_per_node(jax.random.key(0), [one])
    assert facts["nodes"] == 512 and facts["all_nodes"] == 1024
    assert facts["all_bytes"] == 2 * facts["bytes"] and facts["kernel_bytes"] == 3 * 3 * 2 * 4 * 4
    # L (n' + m) K projections, L codes, and the transform and U, for each node.
    assert facts["bytes"] == 512 * 4 * (5 * (18 + 3) * 6 + 5 + 2)
    whole = family_per_node(jax.random.key(0), [layer(2)])
    assert whole["nodes"] == whole["all_nodes"] == 36 and whole["all_bytes"] == whole["bytes"]


def test_unmasked_fraction_is_the_paper_s():
    assert unmasked_fraction(3, 32) == pytest.approx(0.0088, abs=5e-5)
    assert jnp.isclose(unmasked_fraction(3, 3), 1)
