"""The products of layers: those of lax and NumPy where nothing is sampled, right on average where something is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax import lax

from jaxapprox import MC, conv, mc_conv, mc_dense, uniform
from jaxapprox._src.estimates import multilinear, products

KEY = jax.random.key(3)
NUMBERS = ("NHWC", "HWIO", "NHWC")


def array(*shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


# name of the product, shapes of its operands, its other arguments, rows of its sum (of a group, or a batch's entry)
PRODUCTS = {
    "groups": ("conv_general_dilated", (2, 6, 5, 8), (3, 2, 4, 6), dict(padding="SAME", feature_group_count=2), 4),
    "dilated inputs": (
        "conv_general_dilated",
        (2, 4, 3, 6),
        (3, 2, 6, 3),
        dict(padding=[(1, 2), (-1, 0)], lhs_dilation=(2, 3), rhs_dilation=(1, 2)),
        6,
    ),
    "taken away": ("conv_general_dilated", (1, 6, 5, 4), (2, 2, 4, 3), dict(padding=[(-1, -2), (0, -1)]), 4),
    "transposed": ("conv_transpose", (2, 4, 3, 6), (3, 4, 6, 5), dict(strides=(2, 3), padding="SAME"), 6),
    "transposed, wide strides": (
        "conv_transpose",
        (2, 3, 3, 4),
        (2, 3, 4, 2),
        dict(strides=(3, 4), padding="VALID"),
        4,
    ),
    "transposed kernel": (
        "conv_transpose",
        (2, 4, 3, 6),
        (3, 2, 5, 6),
        dict(strides=(1, 2), padding=[(2, 1), (0, -1)], rhs_dilation=(2, 1), transpose_kernel=True),
        6,
    ),
    "several axes": (
        "dot_general",
        (3, 4, 2, 3),
        (2, 3, 5, 2),
        dict(dimension_numbers=(((2, 3), (0, 1)), ((), ()))),
        6,
    ),
    "batch axes": ("dot_general", (2, 3, 6), (2, 6, 5), dict(dimension_numbers=(((2,), (1,)), ((0,), (0,)))), 6),
    "axes in between": ("dot_general", (4, 3, 5), (2, 4, 6), dict(dimension_numbers=(((0,), (1,)), ((), ()))), 4),
    "einsum": ("einsum", (3, 5, 4), (2, 4, 6), dict(equation="nta,hab->nthb"), 4),
    "einsum of the rest": ("einsum", (2, 3, 4), (4, 5), dict(equation="...a,ab->...b"), 4),
    "einsum, batch and lone axes": ("einsum", (3, 2, 6, 2), (3, 6, 4, 2), dict(equation="bqcz,bcdw->dbq"), 6),
}
LIKE_ANOTHER = ("taken away", "transposed, wide strides", "axes in between", "einsum", "einsum of the rest")
by_product = pytest.mark.parametrize("name", PRODUCTS)


def case(name):
    """Exact and estimated product, functions of operands, and the operands."""
    function, lhs, rhs, arguments, _ = PRODUCTS[name]
    if function == "conv_general_dilated":
        arguments = {"window_strides": (1, 2), "dimension_numbers": NUMBERS, **arguments}
    equation = arguments.get("equation")
    exact = (
        functools.partial(jnp.einsum, equation) if equation else functools.partial(getattr(lax, function), **arguments)
    )

    def estimated(method, key, lhs, rhs):
        return getattr(products, function)(method, key, None, lhs=lhs, rhs=rhs, **arguments)[0]

    return exact, estimated, (array(*lhs), array(*rhs, seed=1))


def value_and_gradients(function, *operands):
    y, pull_back = jax.vjp(function, *operands)
    return y, *pull_back(array(*y.shape, seed=2))


@by_product
def test_exact_products_are_those_of_jax(name, platform):
    """Value and both gradients, without a key and with all rows kept, on both platforms' branches."""
    exact, estimated, operands = case(name)
    expected = jax.jit(functools.partial(value_and_gradients, exact))(*operands)
    for method, key in ((MC(), None), (MC(1.0, unit="edge"), KEY)):
        actual = jax.jit(functools.partial(value_and_gradients, functools.partial(estimated, method, key)))(*operands)
        for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, e, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", [name for name in PRODUCTS if name not in LIKE_ANOTHER])
def test_estimates_are_unbiased(name):
    """The value in mode forward, the gradients in mode backward and the kernel's in mode kernel.

    A chance of 1e-6 each of a false alarm.
    """
    exact, estimated, operands = case(name)
    expected = jax.jit(functools.partial(value_and_gradients, exact))(*operands)

    @jax.jit
    @jax.vmap
    def draw(key):
        def gradients(mode):
            return value_and_gradients(functools.partial(estimated, MC(0.5, mode=mode), key), *operands)[1:]

        return estimated(MC(0.5), key, *operands), *gradients("backward"), gradients("kernel")[1]

    for samples, mean in zip(draw(jax.random.split(KEY, 3000)), (*expected, expected[2]), strict=True):
        oracles.assert_unbiased(samples, mean, 1e-6)


@by_product
def test_each_sum_keeps_its_share(name):
    """Half of the rows of each group have a gradient: with one output it is nonzero in those rows alone."""
    _, estimated, (lhs, rhs) = case(name)
    rows = PRODUCTS[name][-1]
    grad = jax.jit(jax.grad(lambda lhs: jnp.sum(estimated(MC(0.5, uniform), KEY, lhs, rhs) ** 2)))(lhs)
    dx = np.asarray(grad)
    kept = {"conv_general_dilated": dx.any((0, 1, 2)), "conv_transpose": dx.any((0, 1, 2))}.get(PRODUCTS[name][0])
    if kept is not None:
        assert kept.reshape(-1, rows).sum(1).tolist() == [rows // 2] * (kept.size // rows)
    else:
        assert 0 < np.mean(dx != 0) <= 0.5 + 1e-9


@pytest.mark.parametrize("mode", ["forward", "backward", "straight_through"])
@pytest.mark.parametrize(("unit", "block_size"), [("channel", None), ("edge", None), ("block", 2)])
def test_forward_mode(mode, unit, block_size):
    """Tangents: of the exact product where gradients are, or are estimates of its; of the kept rows in mode forward."""
    x, kernel, t = array(2, 5, 5, 6), array(3, 3, 6, 4, seed=1), array(3, 3, 6, 4, seed=2)
    estimated = functools.partial(mc_conv, KEY, ratio=0.5, sampler=uniform, mode=mode, unit=unit, block_size=block_size)
    y, tangent = jax.jvp(lambda kernel: estimated(x, kernel), (kernel,), (t,))
    np.testing.assert_array_equal(y, estimated(x, kernel))
    of_kept = mode == "forward"  # by `uniform` the draw is the same for every kernel
    np.testing.assert_allclose(tangent, estimated(x, t) if of_kept else conv(x, t), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.linearize(lambda kernel: estimated(x, kernel), kernel)[1](t), tangent, rtol=1e-6)
    if mode != "backward":  # whose gradients are drawn anew for each cotangent
        hessian = jax.hessian(lambda s: jnp.sum(estimated(x, kernel + s * t) ** 2))(0.0)
        np.testing.assert_allclose(hessian, 2 * jnp.sum(tangent**2), rtol=1e-3)


@pytest.mark.parametrize("mode", ["forward", "backward", "straight_through", "kernel"])
def test_preferred_element_type(mode):
    """The output has the dtype asked for, and gradients those of the operands."""
    for x, kernel, function in (
        (array(2, 5, 6, dtype=jnp.bfloat16), array(3, 6, 4, seed=1, dtype=jnp.bfloat16), mc_conv),
        (array(5, 6, dtype=jnp.bfloat16), array(6, 4, seed=1, dtype=jnp.bfloat16), mc_dense),
    ):
        estimated = functools.partial(function, KEY, ratio=0.5, mode=mode, preferred_element_type=jnp.float32)
        assert jax.eval_shape(estimated, x, kernel).dtype == jnp.float32
        grads = jax.eval_shape(jax.grad(lambda x, kernel, f=estimated: f(x, kernel).sum(), (0, 1)), x, kernel)
        assert [a.dtype for a in grads] == [jnp.bfloat16] * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: products.einsum(MC(), KEY, None, "ab,bc->abc", x, x), "contract"),
        (lambda x: products.einsum(MC(), KEY, None, "aa,ac->c", x, x), "einsum_str"),
        (lambda x: products.dot_general(MC(), KEY, None, x, x, (((), ()), ((0,), (0,)))), "dimension_numbers"),
        (lambda x: products.dot_general(MC(), KEY, None, x > 0, x > 0, (((1,), (0,)), ((), ()))), "x must"),
        (lambda x: products.einsum(MC(), KEY, None, "abc,bc->a", x, x), "einsum_str"),
        (lambda x: products.dot_general(MC(), KEY, None, x, x[:3], (((1,), (0,)), ((), ()))), "inputs must have"),
        (lambda x: products.conv_transpose(MC(), KEY, None, x[None], x[None], (1,), "FULL"), "padding"),
        (lambda x: conv(x[None], x[None], feature_group_count=2), "kernel"),
        (lambda x: conv(x[None], x[None], input_dilation=2), "padding"),
        (lambda x: conv(x[None], x[None], input_dilation=0, padding=1), "input_dilation"),
    ],
)
def test_what_can_not_be_sampled_is_refused(call, message):
    """In one line, of which the argument's name is part."""
    with pytest.raises(ValueError, match=message) as error:
        call(jnp.ones((4, 4)))
    assert "\n" not in str(error.value)


class Scaled(multilinear.Map):
    """2 a b, with transposes that are wrong by a factor, to see that they are the ones that are used."""

    def __call__(self, a, b):
        return 2 * a * b

    def transpose(self, position, g, a, b):
        return 10 * g * (b if a is None else a)


def test_transposes_of_a_map_are_its_own():
    """In reverse mode its own, in forward mode the value's; alike under vmap of either operand, jit and scan."""
    a, b = array(3), array(3, seed=1)
    product = functools.partial(multilinear.apply, Scaled())
    np.testing.assert_allclose(jax.jvp(product, (a, b), (b, a))[1], 2 * (a * a + b * b), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda a: product(a, b).sum())(a), 10 * b, rtol=1e-6)
    summed = jax.grad(lambda b: jax.vmap(product, in_axes=(0, None))(a, b).sum())
    np.testing.assert_allclose(summed(b[0]), 10 * a.sum(), rtol=1e-5)
    each = jax.jit(jax.vmap(jax.grad(product), in_axes=(0, None)))
    np.testing.assert_allclose(each(a, b[0]), jnp.full(3, 10 * b[0]), rtol=1e-6)
    carried = jax.grad(lambda b: lax.scan(lambda c, a: (c, product(a, c)), b, a)[1].sum())
    np.testing.assert_allclose(carried(b[0]), 10 * a.sum(), rtol=1e-5)


@pytest.mark.parametrize(("unit", "block_size"), [("channel", None), ("edge", None), ("block", 2)])
def test_complex_operands(unit, block_size):
    """Scores are by magnitudes: the mean over draws is the convolution, with a chance of 1e-6 of a false alarm."""
    x, kernel = (array(*shape) + 1j * array(*shape, seed=9) for shape in ((2, 5, 6), (3, 6, 2)))
    draw = jax.jit(jax.vmap(lambda key: mc_conv(key, x, kernel, ratio=0.5, unit=unit, block_size=block_size)))
    draws, y = draw(jax.random.split(KEY, 3000)), conv(x, kernel)
    for part in (jnp.real, jnp.imag):
        oracles.assert_unbiased(part(draws), part(y), 5e-7)
