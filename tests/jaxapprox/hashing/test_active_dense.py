"""The active units of a dense layer, in both forms, against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxapprox.lsh import active_dense

forms = pytest.mark.parametrize("form", ["gathered", "masked"])


def operands(dtype=jnp.float32, batch=3):
    rng = np.random.default_rng(0)
    x, kernel, bias, g = (rng.normal(size=s) for s in ((batch, 5), (5, 9), (9,), (batch, 9)))
    ids = np.stack([rng.permutation(9)[:4] for _ in range(batch)])
    return tuple(jnp.asarray(a, dtype) for a in (x, kernel, bias, g)), jnp.asarray(ids, jnp.int32)


def oracle(x, kernel, bias, g, ids):
    """Output and gradients in x, kernel and bias, unit by unit."""
    x, kernel, bias, g = (np.float64(a) for a in (x, kernel, bias, g))
    y, dx, dw, db = np.zeros((len(x), 9)), np.zeros_like(x), np.zeros_like(kernel), np.zeros_like(bias)
    for i, units in enumerate(np.broadcast_to(ids, (len(x), np.shape(ids)[-1]))):
        for u in units:
            y[i, u] = x[i] @ kernel[:, u] + bias[u]
            dx[i] += g[i, u] * kernel[:, u]
            dw[:, u] += g[i, u] * x[i]
            db[u] += g[i, u]
    return y, dx, dw, db


@functools.partial(jax.jit, static_argnums=0)
def output_and_gradients(form, x, kernel, bias, g, ids):
    y, pull = jax.vjp(lambda x, w, b: active_dense(x, w, b, ids, form=form), x, kernel, bias)
    return y, *pull(g)


@forms
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_active_units_alone_are_computed(form, shared, batch):
    """Output and gradients of both forms are the oracle's; inactive units are exactly 0."""
    arrays, ids = operands(batch=batch)
    ids = ids[0] if shared else ids
    for a, e in zip(output_and_gradients(form, *arrays, ids), oracle(*arrays, ids), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(np.asarray(a) == 0, e == 0)


@forms
@pytest.mark.parametrize("shared", [False, True])
def test_all_active_is_the_dense_layer(form, shared):
    """Every unit active, in any order: the product, to rounding; bfloat16 stays bfloat16, without a bias as well."""
    (x, kernel, bias, _), _ = operands()
    order = jnp.asarray([3, 1, 4, 0, 5, 8, 2, 6, 7], jnp.int32)
    ids = order if shared else jnp.stack([order, order[::-1], order])
    dense = np.float64(x) @ np.float64(kernel) + np.float64(bias)
    np.testing.assert_allclose(active_dense(x, kernel, bias, ids, form=form), dense, rtol=1e-6, atol=1e-6)
    low = active_dense(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), None, ids, form=form)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(low), x @ kernel, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("batch", "size", "expected"), [(1, 1, "gathered"), (2, 1, "masked"), (1, 2, "masked")])
def test_form_follows_the_batch(batch, size, expected):
    """Sets of a sixteenth of the units in all are gathered, larger ones are not."""
    x, kernel, ids = jnp.ones((batch, 3)), jnp.ones((3, 16)), jnp.zeros((batch, size), jnp.int32)
    auto, other = (
        jax.make_jaxpr(functools.partial(active_dense, form=f))(x, kernel, None, ids) for f in ("auto", expected)
    )
    assert str(auto) == str(other)


def test_gathered_work_shrinks_with_the_active_share():
    """XLA's own count of operations: a twentieth of the units takes a small part of the product's."""
    x, kernel = jnp.ones((1, 1000)), jnp.ones((1000, 1000))

    def flops(size, form):
        call = jax.jit(functools.partial(active_dense, bias=None, form=form))
        return call.lower(x, kernel, ids=jnp.arange(size)[None]).compile().cost_analysis()["flops"]

    assert flops(50, "gathered") < 0.1 * flops(50, "masked")
