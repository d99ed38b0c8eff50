"""Rows drawn by scores that are given, such as those of some steps ago."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxapprox import bernoulli, importance, mc_conv, mc_dense, systematic, topk, uniform
from jaxapprox._src.estimates import products
from jaxapprox._src.estimates.mc import MC

KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
X, KERNEL = (RNG.normal(size=shape).astype(np.float32) for shape in ((4, 5, 4, 8), (3, 2, 8, 5)))
ROWS, MATRIX = X.reshape(-1, 8), KERNEL[0, 0]
# By name: the call, and the shape of its scores.
SUMS = {
    "channels": (functools.partial(mc_conv, KEY, X, KERNEL, ratio=0.5), (8,)),
    "edges": (functools.partial(mc_conv, KEY, X, KERNEL, ratio=0.5, unit="edge"), (48,)),
    "blocks": (functools.partial(mc_conv, KEY, X, KERNEL, ratio=0.5, unit="block", block_size=2), (4,)),
    "groups": (functools.partial(mc_conv, KEY, X, KERNEL[..., :4, :4], ratio=0.5, feature_group_count=2), (2, 4)),
    "straight through": (functools.partial(mc_conv, KEY, X, KERNEL, ratio=0.5, mode="straight_through"), (8,)),
    "units": (functools.partial(mc_dense, KEY, ROWS, MATRIX, ratio=0.5), (8,)),
}
sums = pytest.mark.parametrize("name", SUMS)


@sums
@pytest.mark.parametrize("sampler", [systematic, topk])
def test_own_scores_change_nothing(name, sampler):
    """Those that a call returns are those that it drew by: given back, they give the same to the bit."""
    call, shape = SUMS[name]
    y, scores = call(sampler=sampler, return_scores=True)
    assert scores.shape == shape and scores.dtype == jnp.float32
    again = call(sampler=sampler, scores=scores, return_scores=True)
    chex.assert_trees_all_equal((y, scores), again)
    chex.assert_trees_all_equal(y, call(sampler=sampler))


def test_scores_are_products_of_norms():
    channels = np.sqrt((X**2).sum((0, 1, 2))) * np.sqrt((KERNEL**2).sum((0, 1, 3)))
    units = np.linalg.norm(ROWS, axis=0) * np.linalg.norm(MATRIX, axis=1)
    blocks = np.sqrt((channels**2).reshape(4, 2).sum(-1))
    for name, expected in (
        ("channels", channels),
        ("straight through", channels),
        ("units", units),
        ("blocks", blocks),
    ):
        np.testing.assert_allclose(SUMS[name][0](return_scores=True)[1], expected, rtol=1e-5)


@pytest.mark.parametrize("sampler", [uniform, importance, bernoulli, systematic])
def test_unbiased_by_any_scores(sampler):
    """By those of other operands, and where they call a row nothing that is not: output and both gradients.

    One of 3 x 4 z-tests fails by chance in 10,000 runs of them all.
    """
    stale = jnp.asarray(RNG.permutation([0.0, 0.0, 5.0, 1.0, 1.0, 2.0, 0.1, 9.0]), jnp.float32)
    g = jnp.ones((ROWS.shape[0], 5))

    @jax.jit
    @jax.vmap
    def draws(key):
        estimate = functools.partial(mc_dense, key, ratio=0.5, sampler=sampler, scores=stale)
        y, pull = jax.vjp(estimate, ROWS, MATRIX)
        return y, *pull(g)

    exact = ROWS @ MATRIX, g @ MATRIX.T, ROWS.T @ g
    for samples, expected in zip(draws(jax.random.split(KEY, 4_000)), exact, strict=True):
        oracles.assert_unbiased(samples, expected, 1e-4 / 12)


def test_the_draw_is_that_of_the_scores():
    """Of the largest ones by topk; and they have no gradient."""
    scores = jnp.array([1.0, 9, 0, 8, 0, 7, 0, 6])
    kept = np.array([1, 3, 5, 7])
    y = mc_dense(KEY, ROWS, MATRIX, ratio=0.5, sampler=topk, scores=scores)
    np.testing.assert_allclose(y, ROWS[:, kept] @ MATRIX[kept], rtol=1e-5, atol=1e-5)
    gradient = jax.grad(lambda scores: mc_dense(KEY, ROWS, MATRIX, ratio=0.5, scores=scores).sum())(scores)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    "settings", [dict(ratio=1.0), dict(ratio=0.5, mode="backward"), dict(ratio=0.5, mode="kernel")], ids=str
)
def test_no_scores_where_no_row_of_the_output_is_drawn(settings):
    assert mc_dense(KEY, ROWS, MATRIX, return_scores=True, **settings)[1] is None
    assert mc_conv(KEY, X, KERNEL, return_scores=True, **settings)[1] is None


def test_no_norm_is_computed_where_scores_are_given():
    """The program has no square of an operand's size, which that of the same call without scores has."""

    def squares(**given):
        function = functools.partial(mc_conv, KEY, ratio=0.5, **given)
        return str(jax.make_jaxpr(function)(X, KERNEL)).count("square")

    assert squares() - squares(scores=jnp.ones(8)) >= 2


def test_products_along_batch_axes_have_scores_each():
    x, kernel = jnp.asarray(RNG.normal(size=(3, 6, 8))), jnp.asarray(RNG.normal(size=(3, 8, 2)))
    estimate = functools.partial(products.einsum, MC(), KEY)
    y, scores = estimate(None, "bnc,bco->bno", x, kernel)
    assert scores.shape == (3, 8)
    chex.assert_trees_all_equal((y, scores), estimate(scores, "bnc,bco->bno", x, kernel))
    with pytest.raises(ValueError, match=r"^scores must be .* \(3, rows\), got float32 of shape \(2, 8\)$"):
        estimate(scores[:2], "bnc,bco->bno", x, kernel)


@sums
def test_scores_that_do_not_fit(name):
    call, shape = SUMS[name]
    for wrong in (jnp.ones((*shape, 1)), jnp.ones((shape[0] + 1, *shape[1:])), jnp.ones(shape, jnp.int32), [1.0]):
        with pytest.raises(ValueError, match=r"^scores must be a floating array of shape \("):
            call(scores=wrong)


@pytest.mark.parametrize("mode", ["backward", "kernel"])
def test_modes_without_scores(mode):
    with pytest.raises(ValueError, match=rf'^scores must be None in mode "{mode}"'):
        mc_dense(KEY, ROWS, MATRIX, ratio=0.5, mode=mode, scores=jnp.ones(8))
