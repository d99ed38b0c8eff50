"""Convolutions as sums that can be sampled: by channels, by edges of the patch, transposed and in groups."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.checks import check_operands
from jaxapprox._src.estimates import conv_maps, edges
from jaxapprox._src.estimates.contraction import Contraction, Estimated, estimate
from jaxapprox._src.estimates.geometry import check_ranks, make_geometry, per_axis, transpose_padding, transposed
from jaxapprox._src.estimates.mc import MC, UNITS, check_row_scores
from jaxapprox._src.wide import wider


@dataclasses.dataclass(frozen=True)
class ChannelConv(Contraction):
    """A convolution sampled by whole channels (Adelman et al., NeurIPS 2021), or by blocks of them."""

    conv: conv_maps.Conv

    def as_conv(self):
        return self.conv

    def forward(self, x, kernel):
        return conv_maps.forward(self.conv, x, kernel)

    def input_grad(self, g, kernel):
        return conv_maps.input_grad(self.conv, g, kernel)

    def kernel_grad(self, x, g):
        return conv_maps.kernel_grad(self.conv, x, g)


class EdgeConv(ChannelConv):
    """A convolution sampled by single edges of the patch (Appendix B)."""

    def forward_estimate(self, method, key, scores, x, kernel):
        num_edges = math.prod(self.conv.geometry.window) * x.shape[-1]
        if method.size(num_edges) == num_edges:
            return self.forward(x, kernel), None
        if scores is None:
            scores = edges.edge_scores(self.conv.geometry, x, kernel)
        rows = method.draw(key, check_row_scores(scores, num_edges))
        y = edges.edge_product(self.conv.geometry, x, kernel, rows, self.conv.precision, self.conv.dtype)
        return y, scores

    def input_grad_estimate(self, method, key, g, kernel):
        num_edges = math.prod(self.conv.geometry.window) * g.shape[-1]
        if method.size(num_edges) == num_edges:
            return self.input_grad(g, kernel)
        wide = wider(g.dtype, kernel.dtype)  # they differ by `conv.dtype`
        geometry, g, flipped = edges.transposed(self.conv.geometry, g.astype(wide), kernel.astype(wide))
        conv = dataclasses.replace(self.conv, geometry=geometry, dtype=None)
        return EdgeConv(conv).forward_estimate(method, key, None, g, flipped)[0].astype(kernel.dtype)


@dataclasses.dataclass(frozen=True)
class TransposedConv(Contraction):
    """A transposed convolution sampled by whole channels: the input gradient of a convolution is its value.

    Its x is the other's output and its kernel `(*window, in, out)` the other's `(*window, out, in)` flipped.
    """

    conv: conv_maps.Conv

    def forward(self, x, kernel):
        return conv_maps.input_grad(self.conv, x, conv_maps.flipped(kernel))

    def input_grad(self, g, kernel):
        return conv_maps.forward(self.conv, g, conv_maps.flipped(kernel))

    def kernel_grad(self, x, g):
        return conv_maps.flipped(conv_maps.kernel_grad(self.conv, g, x))


_BY_UNIT: dict[str, type[ChannelConv]] = dict(zip(UNITS, (ChannelConv, EdgeConv, ChannelConv), strict=True))


def convolve(
    method: MC,
    key: jax.Array | None,
    scores: jax.Array | None,
    x: jax.Array,
    kernel: jax.Array,
    strides: Any,
    padding: Any,
    input_dilation: Any = 1,
    kernel_dilation: Any = 1,
    groups: int = 1,
    precision: Any = None,
    dtype: Any = None,
) -> Estimated:
    """A convolution, estimated by `method`, or exact without a key.

    Args:
        method: how it is sampled, if it is.
        key: a PRNG key, or None.
        scores: as for `contraction.estimate`; of several groups `(groups, n)`.
        x: `(batch, *spatial, in)`.
        kernel: `(*window, in / groups, out)`, of the same floating dtype.
        strides, padding, kernel_dilation: as for `make_geometry`.
        input_dilation: distance to put between the inputs.
        groups: of channels; the input channels of each are sampled by themselves.
        precision, dtype: as for `conv_maps.Conv`.

    Returns:
        `(batch, *out_spatial, out)`, and scores.

    Raises:
        ValueError: if an argument does not fit.
    """
    check_operands(x, kernel)
    factors = per_axis("input_dilation", input_dilation, check_ranks(x.shape, kernel.shape))
    if isinstance(padding, str) and any(factor != 1 for factor in factors):
        raise ValueError(f"padding must be given by integers where input_dilation is not 1, got {padding!r}")
    x = _spread(x, factors)
    if groups == 1:
        geometry = make_geometry(x.shape, kernel.shape, strides, padding, kernel_dilation)
        conv = conv_maps.Conv(geometry, precision, dtype)
        return estimate(_BY_UNIT[method.unit](conv), method, key, scores, x, kernel)
    if groups < 1 or x.shape[-1] % groups or kernel.shape[-1] % groups:
        raise ValueError(
            f"feature_group_count must divide the input and the output channels ({x.shape[-1]}, {kernel.shape[-1]}),"
            f" got {groups}"
        )
    x_of_group = (*x.shape[:-1], x.shape[-1] // groups)
    conv = conv_maps.Conv(make_geometry(x_of_group, kernel.shape, strides, padding, kernel_dilation), precision, dtype)
    if key is None or _keeps_all(method, x, kernel, groups):
        return conv_maps.lax_conv(conv, x, kernel, groups), None
    by_group = [a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups) for a in (x, kernel)]
    estimated = functools.partial(estimate, _BY_UNIT[method.unit](conv), method)
    if scores is not None:
        check_row_scores(scores, groups, None)
    over_groups = jax.vmap(estimated, in_axes=(0, 0, -2, -2), out_axes=(-2, 0))
    y, scores = over_groups(jax.random.split(key, groups), scores, *by_group)
    return y.reshape(*y.shape[:-2], -1), scores


def convolve_transposed(
    method: MC,
    key: jax.Array | None,
    scores: jax.Array | None,
    x: jax.Array,
    kernel: jax.Array,
    strides: Any,
    padding: Any,
    kernel_dilation: Any = 1,
    precision: Any = None,
    dtype: Any = None,
) -> Estimated:
    """A transposed convolution, estimated by `method`, or exact without a key.

    Args:
        method, key, scores, precision, dtype: as for `convolve`.
        x: `(batch, *spatial, in)`.
        kernel: `(*window, in, out)`, of the same floating dtype.
        strides, padding, kernel_dilation: as for `transpose_padding`.

    Returns:
        `(batch, *out_spatial, out)`, and scores.

    Raises:
        ValueError: if an argument does not fit.
    """
    check_operands(x, kernel)
    pairs = transpose_padding(x.shape, kernel.shape, strides, padding, kernel_dilation)
    strides = per_axis("strides", strides, x.ndim - 2)
    if key is not None and method.unit == "edge":
        return convolve(method, key, scores, x, kernel, 1, pairs, strides, kernel_dilation, 1, precision, dtype)
    spread = make_geometry(_spread_shape(x.shape, strides), kernel.shape, 1, pairs, kernel_dilation)
    conv = conv_maps.Conv(transposed(spread, strides, x.shape), precision)
    out = x.dtype if dtype is None else dtype
    x, kernel = (a.astype(wider(a.dtype, out)) for a in (x, kernel))
    y, scores = estimate(TransposedConv(conv), method, key, scores, x, kernel)
    return y.astype(out), scores


def _keeps_all(method: MC, x: jax.Array, kernel: jax.Array, groups: int) -> bool:
    """Whether no sum of a grouped convolution is sampled."""
    taps = math.prod(kernel.shape[:-2]) if method.unit == "edge" else 1
    inputs, outputs = taps * kernel.shape[-2], taps * kernel.shape[-1] // groups
    inputs, outputs = (n // method.block(n) for n in (inputs, outputs))
    rows = {"backward": [outputs, x.shape[0]], "kernel": [x.shape[0]]}.get(method.mode, [inputs])
    return all(method.size(n) == n for n in rows)


def _spread_shape(shape: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    spatial = (max(0, (n - 1) * factor + 1) for n, factor in zip(shape[1:-1], factors, strict=True))
    return (shape[0], *spatial, shape[-1])


def _spread(x: jax.Array, factors: tuple[int, ...]) -> jax.Array:
    """x `(batch, *spatial, in)` with zeros between its inputs, so that they are `factors` apart."""
    if all(factor == 1 for factor in factors):
        return x
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((0, 0, factor - 1) for factor in factors), (0, 0, 0)])
