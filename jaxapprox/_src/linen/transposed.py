"""The call of `nn.ConvTranspose` with a product to choose, for which Flax has no attribute."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def call_transposed(product: Callable[..., jax.Array], module: Any, inputs: jax.Array) -> jax.Array:
    """What `nn.ConvTranspose` computes, by `product` in the place of `lax.conv_transpose`.

    Raises:
        ValueError: if the mask does not have the kernel's shape, or as the product does.
    """
    window = _each(module.kernel_size, 1)
    spatial = len(window)
    strides, dilation = _each(module.strides, spatial), _each(module.kernel_dilation, spatial)
    batch = inputs.shape[: -spatial - 1]
    inputs = inputs.reshape(-1, *inputs.shape[len(batch) :])
    channels = (inputs.shape[-1], module.features)
    shape = window + (channels[::-1] if module.transpose_kernel else channels)
    kernel = module.param("kernel", module.kernel_init, shape, module.param_dtype)
    if module.mask is not None:
        if module.mask.shape != shape:
            raise ValueError(f"mask must have the kernel's shape {shape}, got {module.mask.shape}")
        kernel = kernel * module.mask
    bias = module.param("bias", module.bias_init, channels[1:], module.param_dtype) if module.use_bias else None
    inputs, kernel, bias = module.promote_dtype(inputs, kernel, bias, dtype=module.dtype)
    circular = module.padding == "CIRCULAR"
    y = product(
        inputs,
        kernel,
        strides,
        "VALID" if circular else _padding(module.padding, spatial),
        rhs_dilation=dilation,
        transpose_kernel=module.transpose_kernel,
        precision=module.precision,
        preferred_element_type=getattr(module, "preferred_element_type", None),  # not in Flax before 0.12
    )
    if circular:
        for i, (size, stride) in enumerate(zip(inputs.shape[1:-1], strides, strict=True)):
            y = _wrapped(y, i + 1, size * stride, not module.transpose_kernel)
    y = y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
    return y.reshape(*batch, *y.shape[1:])


def _each(setting: int | Sequence[int] | None, spatial: int) -> tuple[int, ...]:
    """A setting of each spatial axis, 1 where there is none."""
    setting = 1 if setting is None else setting
    return (setting,) * spatial if isinstance(setting, int) else tuple(setting)


def _padding(padding: Any, spatial: int) -> Any:
    """The padding as `lax.conv_transpose` takes it."""
    if isinstance(padding, str):
        return padding
    return [(p, p) if isinstance(p, int) else tuple(p) for p in _each(padding, spatial)]


def _wrapped(y: jax.Array, axis: int, period: int, rounded_up: bool) -> jax.Array:
    """Sums y along an axis over its periods, of which the first begins where the output without padding would.

    Args:
        y: the convolution with padding "VALID".
        axis: a spatial axis.
        period: the size of the output.
        rounded_up: which half of an odd number of missing entries goes before y.
    """
    missing = (period - y.shape[axis]) % (2 * period)
    before = (missing + rounded_up) // 2
    pads = [(0, 0)] * y.ndim
    pads[axis] = (before, -(before + y.shape[axis]) % period)
    padded = jnp.pad(y, pads)
    return padded.reshape(*y.shape[:axis], -1, period, *y.shape[axis + 1 :]).sum(axis)
