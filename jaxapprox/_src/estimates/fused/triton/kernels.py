"""A block-sampled product and its gradients by kernels on a GPU, in the shapes of `jaxapprox.mc_conv`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.estimates.fused.convolution import Fused, Limits
from jaxapprox._src.estimates.fused.triton import forward, input_grad, kernel_grad
from jaxapprox._src.estimates.fused.triton.tiles import LEAST, Work, best
from jaxapprox._src.estimates.mc import Rows

_LIMITS = Limits(
    LEAST,
    (jnp.bfloat16, jnp.float16, jnp.float32),
    (None, lax.Precision.DEFAULT, lax.Precision.HIGH, lax.Precision.HIGHEST),
)
_OLDEST = 8  # the compute capability of Ampere: GPUs before it have less shared memory than the tiles take


class Kernel(NamedTuple):
    """One of the three products.

    Attributes:
        run: the kernel, for matrices whose rows are positions, or a window's taps and channels.
        work: what it has to do.
        kinds: of its factors and its result: "x", "kernel" or "y".
    """

    run: Callable[..., jax.Array]
    work: Callable[[Fused, Any, Any], Work]
    kinds: tuple[str, str, str]


FORWARD = Kernel(forward.forward, forward.work, forward.KINDS)
INPUT_GRAD = Kernel(input_grad.input_grad, input_grad.work, input_grad.KINDS)
KERNEL_GRAD = Kernel(kernel_grad.kernel_grad, kernel_grad.work, kernel_grad.KINDS)


def refusal(kernel: Kernel, fused: Fused, dtype: Any, indices: Any, a: Any, b: Any) -> str:
    """Why a kernel can't compute a product, as the end of a sentence, or an empty string.

    Args:
        kernel: which product.
        fused: the convolution.
        dtype: of the result.
        indices: `(slots,)`, an array or its shape; so are the factors:
        a, b: x and kernel, g and kernel, or x and g, as `jaxapprox.mc_conv` has them.
    """
    if why := _LIMITS.refusal(fused, a, b):
        return why
    if jax.default_backend() == "gpu" and is_old(jax.devices()[0]):
        return f"on a {jax.devices()[0].device_kind}"
    return ""


def is_old(device: Any) -> bool:
    """Whether an NVIDIA GPU is older than those that the tiles are made for."""
    major, dot, _ = getattr(device, "compute_capability", "").partition(".")
    return bool(dot) and int(major) < _OLDEST


def run(kernel: Kernel, fused: Fused, dtype: Any, rows: Rows, a: jax.Array, b: jax.Array) -> jax.Array:
    """The product by the kernel; `vmap` adds an axis to its grid.

    Args:
        kernel, fused, dtype, a, b: as for `refusal`, which must be empty.
        rows: the sampled blocks.

    Returns:
        The product, or a factor's gradient, in the shape that `jaxapprox.mc_conv` has.
    """
    rows = rows._replace(weights=rows.weights.astype(jnp.float32))
    flat = [factor.reshape(-1, factor.shape[-1]) for factor in (a, b)]
    tiles = best(kernel.work(fused, *flat), a.dtype.itemsize)
    out = kernel.run(fused, tiles, rows, *flat, dtype)
    geometry = fused.geometry
    axes = {
        "x": (-1, *geometry.in_shape),
        "y": (-1, *geometry.out_shape),
        "kernel": (*geometry.window, -1),
    }[kernel.kinds[2]]
    return out.reshape(*axes, out.shape[-1])
