"""Active units alone: outputs and gradients against NumPy, unit by unit, and against autodiff of the dense layer."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxapprox import active_rows, blocks
from jaxapprox.lsh import active_dense


def operands(batch=3, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    x, weights, bias, g = (rng.normal(size=s) for s in ((batch, 5), (9, 5), (9,), (batch, 4)))
    ids = np.stack([rng.permutation(9)[:4] for _ in range(batch)])
    return tuple(jnp.asarray(a, dtype) for a in (x, weights, bias, g)), jnp.asarray(ids, jnp.int32)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_outputs_and_gradients_unit_by_unit(platform, batch):
    """Each output is a row's product plus its bias; each touched row gets its examples' multiples, the rest nothing."""
    (x, weights, bias, g), ids = operands(batch)

    @jax.jit
    def step(x, weights, bias, ids, g):
        dx, gradient = active_rows.pull_back(x, weights, ids, g)
        return active_rows.forward(x, weights, bias, ids), dx, active_rows.add_rows(weights, bias, gradient, -0.5)

    y, dx, (new_weights, new_bias) = step(x, weights, bias, ids, g)
    y = np.asarray(y)
    x, weights, bias, g = (np.float64(a) for a in (x, weights, bias, g))
    expected_dx, expected_weights, expected_bias = np.zeros_like(x), weights.copy(), bias.copy()
    for b in range(batch):
        for s, unit in enumerate(np.asarray(ids)[b]):
            np.testing.assert_allclose(y[b, s], weights[unit] @ x[b] + bias[unit], rtol=1e-5)
            expected_dx[b] += g[b, s] * weights[unit]
            expected_weights[unit] -= 0.5 * g[b, s] * x[b]
            expected_bias[unit] -= 0.5 * g[b, s]
    for actual, expected in ((dx, expected_dx), (new_weights, expected_weights), (new_bias, expected_bias)):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    untouched = np.setdiff1d(np.arange(9), np.asarray(ids))
    np.testing.assert_array_equal(np.asarray(new_weights)[untouched], np.float32(weights[untouched]))


def test_a_step_is_that_of_the_masked_dense_layer():
    """One step of gradient descent through `add_rows` and one through autodiff of `active_dense` are the same."""
    (x, weights, bias, g), ids = operands()

    def loss_of(x, weights, bias):
        y = active_dense(x, weights.T, bias, ids, form="masked")
        return jnp.sum(g * jnp.take_along_axis(y, ids, 1))

    dx, dw, db = jax.grad(loss_of, argnums=(0, 1, 2))(x, weights, bias)
    own_dx, gradient = active_rows.pull_back(x, weights, ids, g)
    new_weights, new_bias = active_rows.add_rows(weights, bias, gradient, -0.1)
    for actual, expected in ((own_dx, dx), (new_weights, weights - 0.1 * dw), (new_bias, bias - 0.1 * db)):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert active_rows.add_rows(weights, None, gradient, -0.1)[1] is None


def test_no_array_of_all_units_is_made():
    """Weights are updated in place, and a step holds no other array of units x features or batch x units."""
    (x, _, _, g), ids = operands()

    def step(weights, x, g):
        dx, gradient = active_rows.pull_back(x, weights, ids, g * active_rows.forward(x, weights, None, ids))
        return active_rows.add_rows(weights, None, gradient, -0.1)[0], dx

    memory = jax.jit(step, donate_argnums=0).lower(jnp.zeros((10_000, 5)), x, g).compile().memory_analysis()
    assert memory.alias_size_in_bytes == 10_000 * 5 * 4
    copies = 0 if jax.__version_info__ >= (0, 12) else 1  # an earlier XLA copies the weights before it writes them
    other = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    assert other < 10_000 + copies * 10_000 * 5 * 4


def test_same_under_jit_vmap_scan_and_checkpoint():
    """A step for two layers at once, in a loop and rematerialised, is the step of each."""
    (x, weights, bias, g), ids = operands(dtype=jnp.bfloat16)

    @jax.checkpoint
    def step(weights):
        y = active_rows.forward(x, weights, bias, ids)
        dx, gradient = active_rows.pull_back(x, weights, ids, g * y)
        return dx, active_rows.add_rows(weights, bias, gradient, jnp.bfloat16(0.5))

    both = jnp.stack([weights, weights + 1])
    one = jax.jit(step)(both[1])
    assert one[0].dtype == one[1][0].dtype == jnp.bfloat16
    scanned = jax.jit(lambda both: lax.scan(lambda carry, w: (carry, step(w)), 0, both)[1])(both)
    for other in (scanned, jax.jit(jax.vmap(step))(both)):
        chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], other), one, rtol=0.02)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", {"x": jnp.ones((3, 4))}),
        ("weights", {"weights": jnp.ones(9)}),
        ("ids", {"ids": jnp.ones((2, 4), jnp.int32)}),
        ("ids", {"ids": jnp.ones(4, jnp.int32)}),
        ("g", {"g": jnp.ones((3, 5))}),
    ],
)
def test_bad_shapes_are_named(name, change):
    (x, weights, _, g), ids = operands()
    arguments = {"x": x, "weights": weights, "ids": ids, "g": g, **change}
    with pytest.raises(ValueError, match=f"^{name} must "):
        active_rows.pull_back(**arguments)


def test_gradients_as_blocks_are_the_dense_gradient():
    """Ids of each example and ids that the batch shares, with ids in both, and unused slots."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 5)).astype(np.float32)
    own, shared = np.array([[1, 7], [7, 0], [2, 9]]), np.array([7, 4, -1, 4])
    of_own, of_shared = (rng.normal(size=s).astype(np.float32) for s in ((3, 2), (3, 4)))
    expected = np.zeros((9, 6))
    for ids, coefficients in ((own, of_own), (np.stack([shared] * 3), of_shared)):
        for b, s in np.ndindex(ids.shape):
            if 0 <= ids[b, s] < 9:
                expected[ids[b, s]] += coefficients[b, s] * np.append(x[b], 1)
    gradients = [active_rows.RowGradient(*map(jnp.asarray, g)) for g in ((own, of_own, x), (shared, of_shared, x))]
    zeros = {"weights": jnp.zeros((9, 5)), "bias": jnp.zeros(9)}
    actual = jax.tree.map(blocks.add, zeros, active_rows.to_blocks(gradients, 9))
    np.testing.assert_allclose(actual["weights"], expected[:, :5], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(actual["bias"], expected[:, 5], rtol=1e-5, atol=1e-6)
    alone = jax.tree.map(blocks.add, zeros, active_rows.to_blocks(gradients[1:], 9))
    weights, bias = active_rows.add_rows(zeros["weights"], zeros["bias"], gradients[1], -0.5)
    chex.assert_trees_all_close({"weights": -2 * weights, "bias": -2 * bias}, alone, rtol=1e-5)
    with pytest.raises(ValueError, match=r"^coefficients must "):
        active_rows.to_blocks([gradients[1]._replace(coefficients=jnp.ones((4, 3)))], 9)
    with pytest.raises(ValueError, match=r"^ids must "):
        active_rows.to_blocks([gradients[0]._replace(ids=jnp.ones((2, 2), jnp.int32))], 9)
