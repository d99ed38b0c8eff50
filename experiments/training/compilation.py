"""How the programs compile: `jax.jit`, with the XLA options that pay on a CPU."""

import functools
from collections.abc import Callable
from typing import Any

import jax

# XLA's defaults without convolutions. YNNPACK's ran the kernel gradients of a ResNet-18 at a third of the rate of
# XLA's own on a CPU with AVX2 (a whole training step: 6.5 s against 4.0 s; with AVX-512 3.0 s against 2.8 s); its
# reductions are the faster ones.
_ON_CPU = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE",
}


def jit(function: Callable[..., Any], *, platform: str | None = None, **options: Any) -> Any:
    """`jax.jit` with the compiler options of a platform: the default backend, unless another is compiled for."""
    return jax.jit(function, compiler_options=_compiler_options(platform or jax.default_backend()), **options)


@functools.cache
def _compiler_options(platform: str) -> dict[str, str]:
    if platform != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=_ON_CPU)(0)
    except jax.errors.JaxRuntimeError:  # an XLA without YNNPACK knows no such option
        return {}
    return _ON_CPU
