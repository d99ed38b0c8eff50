"""What the `ConvTranspose` of either Flax API computes, around a product of choice: Flax's has none."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen.linear import canonicalize_padding


def masked(layer: Any, kernel: jax.Array) -> jax.Array:
    """The kernel of a layer times the layer's mask, if it has one.

    Raises:
        ValueError: if the two differ in shape.
    """
    if layer.mask is None:
        return kernel
    if layer.mask.shape != kernel.shape:
        raise ValueError(f"mask must have the shape of the kernel, {kernel.shape}, got {layer.mask.shape}")
    return kernel * layer.mask


def transposed_convolution(
    product: Callable[..., jax.Array], layer: Any, inputs: jax.Array, kernel: jax.Array, bias: jax.Array | None
) -> jax.Array:
    """The output of a layer.

    Args:
        product: computes `lax.conv_transpose`.
        layer: a `ConvTranspose` of either Flax API.
        inputs: `(*batch, *spatial, in)`.
        kernel: masked, `(*window, in, out)`, or `(*window, out, in)` if the layer transposes it.
        bias: `(out,)` or None. All three have the dtype to compute in.

    Returns:
        `(*batch, *out_spatial, out)`.
    """
    rank = kernel.ndim - 2
    padding = canonicalize_padding(layer.padding, rank)
    circular = padding == "CIRCULAR"
    strides = _each(layer.strides, rank)
    x = inputs.reshape(-1, *inputs.shape[-rank - 1 :])
    y = product(
        x,
        kernel,
        strides,
        "VALID" if circular else padding,
        rhs_dilation=_each(layer.kernel_dilation, rank),
        transpose_kernel=layer.transpose_kernel,
        precision=layer.precision,
        preferred_element_type=getattr(layer, "preferred_element_type", None),  # unknown to Flax 0.11
    )
    if circular:
        for axis, stride in enumerate(strides, start=1):
            y = _wrapped(y, axis, x.shape[axis] * stride, layer.transpose_kernel)
    y = y if bias is None else y + bias.reshape((1,) * (rank + 1) + (-1,))
    return y.reshape(*inputs.shape[: -rank - 1], *y.shape[1:])


def _each(value: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """A setting along each spatial axis; None is 1."""
    return (value or 1,) * rank if value is None or isinstance(value, int) else tuple(value)


def _wrapped(y: jax.Array, axis: int, period: int, transpose_kernel: bool) -> jax.Array:
    """Sums what lies whole periods apart along an axis; the period that is kept lies in the middle of y.

    Where the middle falls between two places, Flax takes the one that makes the layer the transpose of its `Conv`,
    which depends on the kernel's.
    """
    spare = (period - y.shape[axis]) % (2 * period)
    before = spare // 2 if transpose_kernel else (spare + 1) // 2
    after = -(before + y.shape[axis]) % period
    y = jnp.pad(y, [(before, after) if i == axis else (0, 0) for i in range(y.ndim)])
    return jnp.sum(y.reshape(*y.shape[:axis], -1, period, *y.shape[axis + 1 :]), axis)
