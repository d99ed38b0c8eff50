"""Convolution with a gradient that is fast everywhere, and its Monte-Carlo estimate."""

import dataclasses
import math
from collections.abc import Sequence

import jax

from jaxapprox._src.checks import check_operands
from jaxapprox._src.estimates import conv_maps, edges
from jaxapprox._src.estimates.contraction import MC, UNITS, Contraction, estimate, plus_bias
from jaxapprox._src.estimates.geometry import Geometry, Padding, make_geometry
from jaxapprox._src.sampling.samplers import Sampler, systematic


@dataclasses.dataclass(frozen=True)
class ChannelConv(Contraction):
    """A convolution sampled by whole channels (Adelman et al., NeurIPS 2021)."""

    geometry: Geometry

    def forward(self, x, kernel):
        return conv_maps.forward(self.geometry, x, kernel)

    def input_grad(self, g, kernel):
        return conv_maps.input_grad(self.geometry, g, kernel)

    def kernel_grad(self, x, g):
        return conv_maps.kernel_grad(self.geometry, x, g)


class EdgeConv(ChannelConv):
    """A convolution sampled by single edges of the patch (Appendix B)."""

    def forward_estimate(self, method, key, x, kernel):
        num_edges = math.prod(self.geometry.window) * x.shape[-1]
        if method.size(num_edges) == num_edges:
            return self.forward(x, kernel)
        rows = method.draw(key, edges.edge_scores(self.geometry, x, kernel))
        return edges.edge_product(self.geometry, x, kernel, rows)

    def input_grad_estimate(self, method, key, g, kernel):
        num_edges = math.prod(self.geometry.window) * g.shape[-1]
        if method.size(num_edges) == num_edges:
            return self.input_grad(g, kernel)
        geometry, g, flipped = edges.transposed(self.geometry, g, kernel)
        return EdgeConv(geometry).forward_estimate(method, key, g, flipped)


_BY_UNIT: dict[str, type[ChannelConv]] = dict(zip(UNITS, (ChannelConv, EdgeConv), strict=True))


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
) -> jax.Array:
    """The exact convolution; equals `lax.conv_general_dilated`, with faster gradients on a CPU.

    Its gradient is as fast inside `scan`, `map` and `while` as outside, and `vmap` over kernels costs as much as the
    convolutions one after another. Reverse-mode differentiation of any order; no forward mode.

    >>> import jax.numpy as jnp
    >>> from jaxapprox import conv
    >>> y = conv(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 3, 8)), strides=2)
    >>> y.shape
    (1, 2, 2, 8)
    >>> print(y[0, :, :, 0])  # 3 channels at 9, 6 or 4 taps within the image
    [[27. 18.]
     [18. 12.]]

    Args:
        x: `(batch, *spatial, in)`, one to three spatial axes, any floating dtype.
        kernel: `(*window, in, out)`, of the same dtype.
        strides: a positive integer, or one for each spatial axis.
        padding: "SAME", "VALID", a non-negative integer, or `(low, high)` (or an integer) for each spatial axis.
        kernel_dilation: distance between the taps of the kernel; as `strides`.

    Returns:
        `(batch, *out_spatial, out)` in the dtype of x.

    Raises:
        ValueError: if an argument is not as above; grouped convolutions are refused.
    """
    check_operands(x, kernel)
    return conv_maps.forward(make_geometry(x.shape, kernel.shape, strides, padding, kernel_dilation), x, kernel)


def mc_conv(
    key: jax.Array,
    x: jax.Array,
    kernel: jax.Array,
    *,
    ratio: float,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    sampler: Sampler = systematic,
    unit: str = "channel",
    mode: str = "forward",
    min_samples: int = 1,
) -> jax.Array:
    r"""The Monte-Carlo estimate of a convolution: MC-approx of the paper's Appendix B.

    The convolution is a sum over n rows, of which k = max(min_samples, round(ratio n)) are kept with the weights of
    `sampler`; at k = n the result and its gradients are those of `conv`, bit for bit. Rows are scored by the product of
    the norms of their two factors, and no gradient flows through scores, draw or weights. A NaN in `x` counts as
    the largest score: a sampler that follows the scores keeps its rows, and the NaN shows.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox import mc_conv
    >>> key, x, kernel = jax.random.key(0), jnp.ones((2, 8, 8, 32)), jnp.ones((3, 3, 32, 16))
    >>> y, pull_back = jax.vjp(lambda kernel: mc_conv(key, x, kernel, ratio=0.25), kernel)
    >>> y.shape
    (2, 8, 8, 16)
    >>> int((pull_back(y)[0] != 0).any((0, 1, 3)).sum())  # input channels that it was computed from
    8

    Args:
        key: a PRNG key; the draw is a function of it and of the scores.
        x, kernel, strides, padding, kernel_dilation: as in `conv`.
        ratio: share of the rows to keep, in (0, 1].
        sampler: `systematic`, `importance`, `uniform`, `bernoulli`, `topk`, or any `jaxapprox.Sampler`.
        unit: "channel" keeps whole channels, all taps of each (n = in); "edge" keeps single (tap, channel) edges of the
            patch (n = taps * in), closer to the paper, and slower.
        mode: what is estimated.
            "forward": the output; gradients flow through the kept rows only.
            "backward": the output is exact; the input gradient is estimated over output channels (or their edges), the
            kernel gradient over examples.
            "straight_through": the output; the gradients are those of the exact convolution.
        min_samples: the fewest rows to keep (all, where there are fewer).

    Returns:
        `(batch, *out_spatial, out)` in the dtype of x.

    Raises:
        ValueError: if an argument is not as above, in a line that names it.
    """
    method = MC(ratio, sampler, unit, mode, min_samples)
    return _estimated(key, x, kernel, method, strides, padding, kernel_dilation)


def convolution(
    key: jax.Array | None,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    method: MC,
    *,
    strides: int | Sequence[int] | None = None,
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] | None = None,
) -> jax.Array:
    """What a convolutional layer computes: `mc_conv` by `method`, or without a key `conv`, plus the bias.

    Args:
        key: a PRNG key, or None.
        x: `(*batch, *spatial, in)` with any number of batch axes.
        kernel: `(*window, in, features)`.
        bias: `(features,)` or None.
        method: how the convolution is estimated.
        strides, padding, kernel_dilation: as in `conv`; strides and dilation are 1 where None, as in Flax.

    Returns:
        `(*batch, *out_spatial, features)`.

    Raises:
        ValueError: if an argument is not as above.
    """
    spatial = kernel.ndim - 2
    if x.ndim < spatial + 1:
        raise ValueError(f"x must have shape (*batch, *spatial, in) with {spatial} spatial axes, got shape {x.shape}")
    strides, kernel_dilation = (1 if steps is None else steps for steps in (strides, kernel_dilation))
    images = x.reshape(-1, *x.shape[-spatial - 1 :])
    if key is None:
        y = conv(images, kernel, strides=strides, padding=padding, kernel_dilation=kernel_dilation)
    else:
        y = _estimated(key, images, kernel, method, strides, padding, kernel_dilation)
    return plus_bias(y.reshape(*x.shape[: -spatial - 1], *y.shape[1:]), bias)


def _estimated(
    key: jax.Array,
    images: jax.Array,
    kernel: jax.Array,
    method: MC,
    strides: int | Sequence[int],
    padding: Padding,
    kernel_dilation: int | Sequence[int],
) -> jax.Array:
    check_operands(images, kernel)
    geometry = make_geometry(images.shape, kernel.shape, strides, padding, kernel_dilation)
    return estimate(_BY_UNIT[method.unit](geometry), method, key, images, kernel)
