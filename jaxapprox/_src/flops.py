"""Floating-point operations of a program."""

from collections.abc import Callable
from typing import Any

import jax
from jax.export import default_export_platform


def flops(function: Callable[..., Any], *args: Any, platform: str | None = None) -> float:
    """Floating-point operations of a call, as XLA counts them before it optimizes; the body of a loop counts once.

    The CPU's part of XLA counts, on any machine: those of GPUs and TPUs count compiled programs alone.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.efficiency import flops
    >>> flops(jnp.matmul, jax.ShapeDtypeStruct((3, 5), jnp.float32), jnp.ones((5, 2)))
    60.0

    Args:
        function: JAX traces it.
        *args: its arguments, arrays or their shapes and dtypes.
        platform: `cpu`, `cuda`, `rocm` or `tpu`, for its form of what has several; JAX's default one if None. For `tpu`
            that of other accelerators is counted, where a TPU may have kernels that XLA does not see into.

    Raises:
        RuntimeError: if JAX was told to do without a CPU (`JAX_PLATFORMS`).
    """
    platform = default_export_platform() if platform is None else platform
    platform = "cuda" if platform == "tpu" else platform
    shapes = jax.eval_shape(lambda *args: args, *args)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        analysis: Any = jax.jit(function).trace(*shapes).lower(lowering_platforms=(platform,)).cost_analysis()
    return float(analysis["flops"])
