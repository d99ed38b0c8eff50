"""A block-sampled product and its gradients by kernels on a TPU, in the shapes of `jaxapprox.mc_conv`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from jaxapprox._src.estimates.fused import forward, input_grad, kernel_grad
from jaxapprox._src.estimates.fused.call import sizes_of
from jaxapprox._src.estimates.fused.convolution import Fused, Limits
from jaxapprox._src.estimates.fused.tiles import LANES, Cost, Sizes, Tiles, best
from jaxapprox._src.estimates.mc import Rows

_LIMITS = Limits(LANES, (jnp.bfloat16, jnp.float32), (None, lax.Precision.DEFAULT, lax.Precision.HIGHEST))
_OLD = ("TPU v2", "TPU v3", "TPU v4", "TPU v4 lite")  # with 16 MiB of VMEM


class Kernel(NamedTuple):
    """One of the three products.

    Attributes:
        run: the kernel, for products along a leading axis of seeds, positions before examples, and flat windows.
        cost: of its tiles.
        kinds: of its factors and its result, as for `sizes_of`.
    """

    run: Callable[..., jax.Array]
    cost: Callable[[Sizes, Tiles], Cost]
    kinds: tuple[str, str, str]


FORWARD = Kernel(forward.forward, forward.cost, forward.KINDS)
INPUT_GRAD = Kernel(input_grad.input_grad, input_grad.cost, input_grad.KINDS)
KERNEL_GRAD = Kernel(kernel_grad.kernel_grad, kernel_grad.cost, kernel_grad.KINDS)


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
    if any(n % stride for n, stride in zip(fused.geometry.in_shape, fused.geometry.strides, strict=True)):
        return f"for strides {fused.geometry.strides} that do not divide the input's shape {fused.geometry.in_shape}"
    if jax.default_backend() == "tpu" and jax.devices()[0].device_kind in _OLD:
        return f"on a {jax.devices()[0].device_kind}"
    if _tiles(kernel, fused, indices, a, b, dtype) is None:
        return f"for shapes {a.shape} and {b.shape}, of which no tiles fit into VMEM"
    return ""


def run(kernel: Kernel, fused: Fused, dtype: Any, rows: Rows, a: jax.Array, b: jax.Array) -> jax.Array:
    """The product by the kernel; `vmap` adds an axis to its grid.

    Args:
        kernel, fused, dtype, a, b: as for `refusal`, which must be empty.
        rows: the sampled blocks.

    Returns:
        The product, or a factor's gradient, in the shape that `jaxapprox.mc_conv` has.
    """
    tiles = _tiles(kernel, fused, rows.indices, a, b, dtype)
    assert tiles is not None

    @custom_vmap
    def of_seeds(indices, weights, a, b):
        return kernel.run(fused, tiles, indices, weights, a, b, dtype)

    @of_seeds.def_vmap
    def _(size, mapped, *operands):
        every = (a if own else jnp.broadcast_to(a, (size, *a.shape)) for a, own in zip(operands, mapped, strict=True))
        stacked = [a.reshape(-1, *a.shape[2:]) for a in every]
        out = of_seeds(*stacked)
        return out.reshape(size, -1, *out.shape[1:]), True

    first, second, result = kernel.kinds
    factors = (_flat(fused, kind, factor)[None] for kind, factor in ((first, a), (second, b)))
    out = of_seeds(rows.indices[None], rows.weights.astype(jnp.float32)[None], *factors)[0]
    if result == "kernel":
        return out.reshape(*fused.geometry.window, *out.shape[1:])
    positions = fused.geometry.in_shape if result == "x" else fused.geometry.out_shape
    return jnp.moveaxis(out.reshape(*positions, *out.shape[-2:]), -2, 0)


def _flat(fused: Fused, kind: str, factor: Any) -> Any:
    """A kernel `(taps, in, out)`; or, where positions come first, `(*positions, examples, channels)`."""
    if kind == "kernel":
        return factor.reshape(-1, *factor.shape[-2:])
    factor = jnp.moveaxis(factor, 0, -2)
    return factor.reshape(*fused.in_shape, *factor.shape[-2:]) if kind == "x" else factor


def _tiles(kernel: Kernel, fused: Fused, indices: Any, a: Any, b: Any, dtype: Any) -> Tiles | None:
    def flat(a, b):
        first, second, _ = kernel.kinds
        return _flat(fused, first, a)[None], _flat(fused, second, b)[None]

    a, b = jax.eval_shape(flat, a, b)
    return best(kernel.cost, sizes_of(fused, kernel.kinds, indices, a, b, dtype))
