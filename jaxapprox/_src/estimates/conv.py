"""Convolution with a gradient that is fast everywhere, and its Monte-Carlo estimate."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxapprox._src.checks import check_key, check_operands
from jaxapprox._src.estimates.geometry import Padding, channels_last, check_ranks, per_axis
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.estimates.products import conv_general_dilated
from jaxapprox._src.sampling.samplers import Sampler, systematic


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """The exact convolution; equals `lax.conv_general_dilated`, with faster gradients on a CPU.

    Its gradient is as fast inside `scan`, `map` and `while` as outside, and `vmap` over kernels costs as much as the
    convolutions one after another. It can be differentiated in both modes and to any order.

    >>> import jax.numpy as jnp
    >>> from jaxapprox import conv
    >>> y = conv(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 3, 8)), strides=2)
    >>> y.shape
    (1, 2, 2, 8)
    >>> print(y[0, :, :, 0])  # 3 channels at 9, 6 or 4 taps within the image
    [[27. 18.]
     [18. 12.]]

    Args:
        x: `(batch, *spatial, in)`, one to three spatial axes, any floating or complex dtype.
        kernel: `(*window, in / feature_group_count, out)`, of the same dtype.
        strides: a positive integer, or one for each spatial axis.
        padding: "SAME", "SAME_LOWER", "VALID", an integer, or `(low, high)` (or an integer) for each spatial axis;
            negative ones take inputs away.
        kernel_dilation: distance between the taps of the kernel; as `strides`.
        input_dilation: distance to put between the inputs; as `strides`. Where it is not 1, padding is by integers.
        feature_group_count: the number of groups that the channels are divided into. The gradients of a grouped
            convolution are XLA's own, without the speed above.
        precision, preferred_element_type: as in `lax.conv_general_dilated`.

    Returns:
        `(batch, *out_spatial, out)` in the dtype of x, or in `preferred_element_type`.

    Raises:
        ValueError: if an argument is not as above.
    """
    settings = (strides, padding, input_dilation, kernel_dilation, feature_group_count)
    return _product(MC(), None, None, x, kernel, *settings, precision, preferred_element_type)[0]


def mc_conv(
    key: jax.Array,
    x: jax.Array,
    kernel: jax.Array,
    *,
    ratio: float,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    sampler: Sampler = systematic,
    unit: str = "channel",
    mode: str = "forward",
    min_samples: int = 1,
    block_size: int | None = None,
    implementation: str | None = None,
    scores: jax.Array | None = None,
    return_scores: bool = False,
) -> Any:
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
        x, kernel, strides, padding, kernel_dilation, input_dilation, precision, preferred_element_type: as in `conv`.
        feature_group_count: as in `conv`. The groups are sampled one by one: n is that of a group.
        ratio: share of the rows to keep, in (0, 1].
        sampler: `systematic`, `importance`, `uniform`, `bernoulli`, `topk`, or any `jaxapprox.Sampler`.
        unit: "channel" keeps whole channels, all taps of each (n = in); "edge" keeps single (tap, channel) edges of the
            patch (n = taps * in), closer to the paper, and slower; "block" keeps blocks of neighbouring channels, by
            the root of the sum of their squared scores: fewer rows, so noisier, but kernels (Pallas), on a TPU and, if
            asked for, on an NVIDIA GPU, read the kept blocks where they are.
        mode: what is estimated.
            "forward": the output; gradients flow through the kept rows only.
            "backward": the output is exact; the input gradient is estimated over output channels (or their edges), the
            kernel gradient over examples.
            "straight_through": the output; the gradients are those of the exact convolution.
            "kernel": the kernel gradient, over examples drawn by the norms of x in the forward pass, so that of x only
            these are kept for the backward pass; output and input gradient are exact.
        min_samples: the fewest rows to keep (all, where there are fewer).
        block_size: channels of a block; by default the largest divisor of their number up to 128, a TPU's lanes. On a
            GPU 32 to 64 do as well.
        implementation: of sums over blocks of input channels and their gradients: "pallas" for kernels, which run on
            TPUs from v5 on and take blocks of a multiple of 128 channels in bfloat16 or float32, and on NVIDIA GPUs
            from Ampere on, of a multiple of 16 channels in float16 too; "xla" for XLA's own products of copies; by
            default kernels wherever they run on a TPU, and XLA's products on a GPU, where kernels are not yet measured.
        scores: of the n rows, `(n,)` floating (of several groups `(groups, n)`), to draw by in the place of their own,
            which then need not be computed: such as those of some steps ago. For modes that estimate the output.
        return_scores: whether to return the scores as well that the rows were drawn by.

    Returns:
        `(batch, *out_spatial, out)` in the dtype of x, or in `preferred_element_type`. With `return_scores` a pair of
        it and the scores, None where no row of the output's sum is drawn.

    Raises:
        ValueError: if an argument is not as above, in a line that names it.
    """
    check_key(key)
    settings = (strides, padding, input_dilation, kernel_dilation, feature_group_count)
    method = MC(ratio, sampler, unit, mode, min_samples, block_size, implementation)
    estimated = _product(method, key, scores, x, kernel, *settings, precision, preferred_element_type)
    return estimated if return_scores else estimated[0]


def _product(method, key, scores, x, kernel, strides, padding, input_dilation, kernel_dilation, *settings):
    """`conv_general_dilated`, with one number for all axes wherever there may be one for each."""
    check_operands(x, kernel)
    spatial = check_ranks(x.shape, kernel.shape)
    strides = per_axis("strides", strides, spatial)
    dilations = (
        per_axis("input_dilation", input_dilation, spatial),
        per_axis("kernel_dilation", kernel_dilation, spatial),
    )
    return conv_general_dilated(
        method, key, scores, x, kernel, strides, padding, *dilations, channels_last(spatial), *settings
    )
