"""The Monte-Carlo convolution with its draw known: the exact one with the drawn rows' weights, in any geometry."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxapprox import bernoulli, importance, mc_conv, systematic, uniform

# x's shape, window, features, (strides, padding, dilation)
CASES = {
    "1-D, dilated": ((3, 9, 9), (3,), 6, ((1,), "SAME", (2,))),
    "2-D, strided": ((4, 5, 4, 6), (3, 2), 4, ((2, 1), [(1, 0), (1, 1)], (1, 1))),
    "2-D, strided and dilated": ((2, 9, 8, 10), (2, 3), 15, ((3, 2), [(0, 2), (2, 1)], (2, 2))),
    "3-D": ((3, 3, 4, 3, 4), (2, 1, 2), 6, ((1, 2, 1), "VALID", (1, 1, 1))),
}
units = pytest.mark.parametrize("unit", ["channel", "edge", "block"])


def operands(case):
    """x with channels of skewed energy, a kernel, and a cotangent of the output."""
    shape, window, features, geometry = CASES[case]
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) + 0.5) * np.linspace(0.3, 2, shape[-1])
    kernel = rng.normal(size=(*window, shape[-1], features)) + 0.3
    g = rng.normal(size=oracles.conv(x, kernel, *geometry).shape) + 0.3
    return tuple(np.float32(a) for a in (x, kernel, g)), geometry


def drawn(sampler, key, scores):
    """The weight of each row, shaped as `scores`, in the draw of half of them."""
    weights = oracles.drawn_weights(sampler, key, scores, max(1, round(0.5 * scores.size)))
    assert not np.all(weights)
    return weights


def options(unit, kernel):
    """Blocks that divide the input and the output channels."""
    return dict(unit=unit, block_size=math.gcd(*kernel.shape[-2:]) if unit == "block" else None)


def drawn_channels(sampler, unit, key, scores, kernel):
    """The weight of each channel, drawn by itself or with its block."""
    if unit == "channel":
        return drawn(sampler, key, scores)
    size = options(unit, kernel)["block_size"]
    return np.repeat(drawn(sampler, key, np.sqrt(np.sum(scores.reshape(-1, size) ** 2, 1))), size)


def norms(a, *kept):
    return np.sqrt(np.sum(np.float64(a) ** 2, tuple(i for i in range(a.ndim) if i not in kept)))


def forward_weights(sampler, unit, key, x, kernel, geometry):
    """What the draw multiplies the kernel by, for the output."""
    window, channels = kernel.shape[:-2], kernel.shape[-2]
    if unit != "edge":
        scores = norms(x, x.ndim - 1) * norms(kernel, kernel.ndim - 2)
        return drawn_channels(sampler, unit, key, scores, kernel)[:, None]
    patches = oracles.patches(x, window, *geometry)
    scores = norms(patches, 1) * norms(kernel.reshape(-1, kernel.shape[-1]), 0)
    return drawn(sampler, key, scores).reshape(*window, channels, 1)


def input_grad_weights(sampler, unit, key, x, kernel, g, geometry):
    """What the draw multiplies the kernel by, for the input gradient: a sum over output channels, or (tap, channel)."""
    if unit != "edge":
        return drawn_channels(sampler, unit, key, norms(g, g.ndim - 1) * norms(kernel, kernel.ndim - 1), kernel)
    window, features = kernel.shape[:-2], kernel.shape[-1]
    energy = np.zeros((*window, features))
    for out, tap, _ in oracles.positions(x.shape[1:-1], window, *geometry)[0]:
        energy[tap] += np.sum(np.float64(g[(slice(None), *out)]) ** 2, 0)
    rows = tuple(i for i in range(kernel.ndim) if i != kernel.ndim - 2)
    scores = (np.sqrt(energy) * norms(kernel, *rows)).reshape(-1, features)
    # The input gradient is a convolution by the flipped kernel, whose taps are numbered from the other end.
    return drawn(sampler, key, scores[::-1])[::-1].reshape(*window, 1, features)


def expected(sampler, unit, mode, key, x, kernel, g, geometry):
    """Output, input gradient and kernel gradient, by the oracles and the definition of each mode."""
    window, in_shape = kernel.shape[:-2], x.shape[1:-1]
    if mode == "backward":
        input_key, kernel_key = jax.random.split(key)
        by_edge = input_grad_weights(sampler, unit, input_key, x, kernel, g, geometry)
        by_example = drawn(sampler, kernel_key, norms(x, 0) * norms(g, 0)).reshape(-1, *(1,) * (g.ndim - 1))
        return (
            oracles.conv(x, kernel, *geometry),
            oracles.conv_input_grad(g, kernel * by_edge, in_shape, *geometry),
            oracles.conv_kernel_grad(x, g * by_example, window, *geometry),
        )
    if mode == "kernel":
        by_example = drawn(sampler, key, norms(x, 0)).reshape(-1, *(1,) * (g.ndim - 1))
        return (
            oracles.conv(x, kernel, *geometry),
            oracles.conv_input_grad(g, kernel, in_shape, *geometry),
            oracles.conv_kernel_grad(x, g * by_example, window, *geometry),
        )
    by_edge = forward_weights(sampler, unit, key, x, kernel, geometry)
    through = by_edge if mode == "forward" else 1.0
    return (
        oracles.conv(x, kernel * by_edge, *geometry),
        oracles.conv_input_grad(g, kernel * through, in_shape, *geometry),
        through * oracles.conv_kernel_grad(x, g, window, *geometry),
    )


def assert_as_expected(sampler, unit, mode, case):
    (x, kernel, g), geometry = operands(case)
    arguments = dict(zip(("strides", "padding", "kernel_dilation"), geometry, strict=True)) | options(unit, kernel)

    @jax.jit
    def estimate(key, x, kernel, g):
        function = functools.partial(mc_conv, key, ratio=0.5, sampler=sampler, mode=mode, **arguments)
        y, pull = jax.vjp(function, x, kernel)
        return y, *pull(g)

    for key in jax.random.split(jax.random.key(2), 3):
        actual = estimate(key, x, kernel, g)
        for a, e in zip(actual, expected(sampler, unit, mode, key, x, kernel, g, geometry), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4 * np.abs(e).max())


@units
@pytest.mark.parametrize("mode", ["forward", "backward", "straight_through", "kernel"])
@pytest.mark.parametrize("case", CASES)
def test_any_geometry(unit, mode, case):
    """Three draws of the default sampler, in one to three dimensions."""
    assert_as_expected(systematic, unit, mode, case)


@pytest.mark.parametrize("sampler", [importance, uniform, bernoulli], ids=lambda s: s.__name__)
@pytest.mark.parametrize(
    ("unit", "mode"), [("channel", "backward"), ("edge", "forward"), ("channel", "kernel"), ("block", "forward")]
)
def test_any_sampler(sampler, unit, mode):
    """Draws with repeated rows, of equal weights, and with unused slots."""
    assert_as_expected(sampler, unit, mode, "2-D, strided")


@units
@pytest.mark.parametrize("mode", ["forward", "backward", "straight_through", "kernel"])
@pytest.mark.parametrize("shape", [(0, 5, 5, 4), (2, 2, 5, 4)], ids=["no examples", "no positions"])
def test_nothing_to_compute(unit, mode, shape):
    """An empty batch, or a window larger than the input: an empty output and zero gradients, as of `conv`."""
    x, kernel = jnp.ones(shape), jnp.ones((3, 3, 4, 6))

    def estimate(x, kernel):
        return mc_conv(jax.random.key(0), x, kernel, ratio=0.5, padding="VALID", mode=mode, **options(unit, kernel))

    @jax.jit
    def output_and_gradients(x, kernel):
        y, pull = jax.vjp(estimate, x, kernel)
        return y, *pull(jnp.ones(y.shape))

    y, dx, dw = output_and_gradients(x, kernel)
    assert y.shape == (shape[0], shape[1] - 2 if shape[1] > 2 else 0, 3, 6)
    assert dx.shape == x.shape and not np.any(dx)
    assert dw.shape == kernel.shape and not np.any(dw)
