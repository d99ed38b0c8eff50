"""The exact convolution and its derivatives, against NumPy and against lax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax import lax

from jaxapprox import conv
from jaxapprox._src.estimates import conv_maps

# (batch, in, out), spatial shape, window, strides, padding, dilation
GRID = [
    ((2, 3, 4), (7,), (3,), (1,), "SAME", (1,)),
    ((3, 2, 1), (11,), (4,), (3,), [(2, 0)], (2,)),
    ((1, 1, 1), (5, 5), (3, 3), (1, 1), "SAME", (1, 1)),
    ((3, 2, 5), (7, 6), (3, 3), (2, 2), "SAME", (1, 1)),
    ((2, 3, 2), (8, 5), (1, 1), (2, 3), "VALID", (1, 1)),  # window narrower than the stride
    ((2, 2, 3), (9, 7), (2, 3), (3, 2), [(0, 1), (3, 2)], (2, 1)),
    ((2, 2, 3), (9, 8), (3, 2), (2, 3), "SAME", (2, 3)),
    ((2, 1, 2), (6, 6), (3, 3), (2, 2), 4, (1, 1)),  # padding wider than the window
    ((5, 3, 2), (10, 9), (3, 3), (3, 1), "VALID", (3, 2)),
    ((2, 2, 2), (4, 5, 3), (2, 3, 2), (1, 2, 2), "SAME", (1, 1, 1)),
    ((1, 2, 3), (5, 4, 4), (3, 1, 2), (3, 2, 1), [(1, 1), (0, 0), (0, 2)], (1, 1, 2)),
]
grid = pytest.mark.parametrize("case", GRID, ids=str)


def operands(case, dtype=jnp.float32):
    """x, kernel and a cotangent of the output for one case of the grid."""
    (batch, channels, features), spatial, window, *geometry = case
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, *spatial, channels))
    kernel = rng.normal(size=(*window, channels, features))
    g = rng.normal(size=oracles.conv(x, kernel, *geometry).shape)
    return tuple(jnp.asarray(a, dtype) for a in (x, kernel, g))


def ours(case):
    return functools.partial(conv, strides=case[3], padding=case[4], kernel_dilation=case[5])


def theirs(case):
    spatial, window, strides, padding, dilation = case[1:]
    pads = oracles.explicit_padding(padding, spatial, window, strides, dilation)
    letters = "DHW"[-len(spatial) :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lambda x, kernel: lax.conv_general_dilated(
        x, kernel, strides, pads, rhs_dilation=dilation, dimension_numbers=numbers
    )


def gradients(function, x, kernel, g):
    return jax.vjp(function, x, kernel)[1](g)


@grid
def test_forward_is_that_of_lax_and_numpy(case):
    """Bit for bit lax.conv_general_dilated, and the definition."""
    x, kernel, _ = operands(case)
    actual = ours(case)(x, kernel)
    np.testing.assert_array_equal(actual, theirs(case)(x, kernel))
    np.testing.assert_allclose(actual, oracles.conv(x, kernel, *case[3:]), rtol=1e-4, atol=1e-4)


@grid
@pytest.mark.parametrize("form", ["one block", "blocks", "accelerator"])
def test_gradients_are_those_of_numpy(case, form, monkeypatch):
    """Both gradients, also when examples are taken in blocks that may not divide the batch, and as an accelerator's."""
    if form == "blocks":
        monkeypatch.setattr(conv_maps, "_KERNEL_GRAD_BLOCK_BYTES", 2000)
    if form == "accelerator":
        monkeypatch.setattr(lax, "platform_dependent", lambda *arguments, default, **_: default(*arguments))
    x, kernel, g = operands(case)
    dx, dw = jax.jit(functools.partial(gradients, ours(case)))(x, kernel, g)
    np.testing.assert_allclose(dx, oracles.conv_input_grad(g, kernel, case[1], *case[3:]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dw, oracles.conv_kernel_grad(x, g, case[2], *case[3:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7])
def test_kernel_gradient_of_any_batch_in_blocks(batch, monkeypatch):
    """Blocks of two examples, with one left over in odd batches."""
    case = ((batch, 3, 4), (5, 5), (3, 3), (1, 1), "SAME", (1, 1))
    monkeypatch.setattr(conv_maps, "_KERNEL_GRAD_BLOCK_BYTES", 2 * 4 * 25 * 7)
    x, kernel, g = operands(case)
    dw = gradients(ours(case), x, kernel, g)[1]
    np.testing.assert_allclose(dw, oracles.conv_kernel_grad(x, g, case[2], *case[3:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", [GRID[3], GRID[5]], ids=str)
def test_bfloat16(case):
    """The forward in bfloat16 is lax's; gradients keep the dtype and are off by its rounding only."""
    x, kernel, g = operands(case, jnp.bfloat16)
    np.testing.assert_array_equal(ours(case)(x, kernel), theirs(case)(x, kernel))
    dx, dw = gradients(ours(case), x, kernel, g)
    assert dx.dtype == dw.dtype == jnp.bfloat16
    for actual, expected in (
        (dx, oracles.conv_input_grad(g, kernel, case[1], *case[3:])),
        (dw, oracles.conv_kernel_grad(x, g, case[2], *case[3:])),
    ):
        np.testing.assert_allclose(np.float64(actual), expected, rtol=0.02, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("case", [GRID[1], GRID[3], GRID[5]], ids=str)
def test_second_derivatives_are_those_of_lax(case):
    """Reverse over reverse, in both operands."""
    x, kernel, g = operands(case)
    rng = np.random.default_rng(1)
    tx, tw = (jnp.asarray(rng.normal(size=a.shape), jnp.float32) for a in (x, kernel))

    def second(function):
        def slope(x, kernel):
            dx, dw = jax.grad(lambda x, w: jnp.sum(g * jnp.tanh(function(x, w))), argnums=(0, 1))(x, kernel)
            return jnp.sum(dx * tx) + jnp.sum(dw * tw)

        return jax.jit(jax.grad(slope, argnums=(0, 1)))(x, kernel)

    for actual, expected in zip(second(ours(case)), second(theirs(case)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=["inputs", "kernels", "both"])
@pytest.mark.parametrize("nested", [False, True], ids=["once", "nested"])
def test_vmap(axes, nested):
    """`vmap` over inputs, kernels, both, once or nested, gives what one call after another gives."""
    case = GRID[3]
    x, kernel, g = operands(case)
    step = lambda x, kernel: (ours(case)(x, kernel), *gradients(ours(case), x, kernel, g))  # noqa: E731
    scale = jnp.asarray([[1.0, -2.0], [0.5, 3.0]] if nested else [1.0, -2.0])
    args = [a if axis is None else jnp.multiply.outer(scale, a) for a, axis in zip((x, kernel), axes, strict=True)]
    mapped = jax.vmap(jax.vmap(step, axes), axes) if nested else jax.vmap(step, axes)
    actual = jax.jit(mapped)(*args)
    for index in np.ndindex(scale.shape):
        one = step(*(a if axis is None else a[index] for a, axis in zip(args, axes, strict=True)))
        for a, e in zip(actual, one, strict=True):
            np.testing.assert_allclose(a[index], e, rtol=1e-4, atol=1e-4)


def test_jit_scan_and_checkpoint():
    """The same value and gradients under `scan` with `jax.checkpoint`, and under `jit`."""
    case = GRID[3]
    x, kernel, g = operands(case)
    expected = gradients(ours(case), x, kernel, g)
    step = functools.partial(gradients, jax.checkpoint(ours(case)))
    scanned = lax.scan(lambda carry, scale: (carry, step(x * scale, kernel, g)), 0, jnp.ones(2))[1]
    for a, b, e in zip(scanned, jax.jit(step)(x, kernel, g), expected, strict=True):
        np.testing.assert_allclose(a[1], e, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(b, e, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (dict(x=jnp.ones((2, 3))), "x"),
        (dict(x=jnp.ones((2, 3, 3, 3, 3, 2))), "x"),
        (dict(x=jnp.ones((2, 5, 5, 2), jnp.int32)), "x"),
        (dict(x=[[1.0]]), "x"),
        (dict(x=jnp.ones((2, 5, 5, 4))), "kernel"),
        (dict(kernel=jnp.ones((3, 2, 4))), "kernel"),
        (dict(kernel=jnp.ones((3, 0, 2, 4))), "kernel"),
        (dict(kernel=jnp.ones((3, 3, 2, 4), jnp.bfloat16)), "kernel"),
        (dict(strides=0), "strides"),
        (dict(strides=1.0), "strides"),
        (dict(strides=(1, 1, 1)), "strides"),
        (dict(kernel_dilation=True), "kernel_dilation"),
        (dict(padding="CIRCULAR"), "padding"),
        (dict(padding=1.5), "padding"),
        (dict(padding=[(1, 1)]), "padding"),
        (dict(padding=None), "padding"),
    ],
    ids=lambda a: a if isinstance(a, str) else next(iter(a)),
)
def test_bad_arguments_are_named(arguments, name):
    """Every bad argument is a ValueError that begins with its name."""
    arguments = {"x": jnp.ones((2, 5, 5, 2)), "kernel": jnp.ones((3, 3, 2, 4)), **arguments}
    with pytest.raises(ValueError, match=f"^{name} must "):
        conv(arguments.pop("x"), arguments.pop("kernel"), **arguments)
