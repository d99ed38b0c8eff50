"""The platforms that have kernels, by the names that JAX gives them."""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
from jax import lax

from jaxapprox._src.estimates.mc import Rows


@dataclasses.dataclass(frozen=True)
class Platform:
    """A platform with kernels.

    Attributes:
        devices: what it is, for people.
        by_default: whether they are taken where nobody asked for them.
        kernels: imports their module, with a `Kernel` for each of the three products, `Fused`, `refusal` and `run`.
    """

    devices: str
    by_default: bool
    kernels: Callable[[], ModuleType]

    def refusal(self, kernel: str, conv: Any, block: int, dtype: Any, indices: Any, a: Any, b: Any) -> str:
        """Why a kernel can't be used, as the end of a sentence, or an empty string.

        Args:
            kernel: its name: "FORWARD", "INPUT_GRAD" or "KERNEL_GRAD".
            conv: the convolution, a `conv_maps.Conv`, or None for a product that is none.
            block: channels of a block.
            dtype: of the result.
            indices, a, b: the sampled blocks and the two factors, or their shapes.
        """
        if conv is None:
            return "for a transposed convolution"
        try:
            kernels = self.kernels()
        except ImportError as error:  # of a version of JAX that no longer has what they are made of
            return f"without {error.name}"
        fused = kernels.Fused(conv.geometry, block, _one_precision(conv.precision))
        return kernels.refusal(getattr(kernels, kernel), fused, dtype, indices, a, b)

    def run(self, kernel: str, conv: Any, block: int, dtype: Any, rows: Rows, a: jax.Array, b: jax.Array) -> jax.Array:
        """The product by the kernel, where it isn't refused; `a` and `b` have one dtype."""
        kernels = self.kernels()
        fused = kernels.Fused(conv.geometry, block, _one_precision(conv.precision))
        return kernels.run(getattr(kernels, kernel), fused, dtype, rows, a, b)


def _one_precision(given: Any) -> Any:
    """A precision as one `lax.Precision`, if it has that name or is the same for both factors; else as it is."""
    if isinstance(given, tuple) and given[0] == given[1]:
        given = given[0]
    try:
        return lax.Precision(given) if isinstance(given, str) else given
    except ValueError:  # the name of an algorithm
        return given


def _tpu() -> ModuleType:
    """Imported where it is needed, as the next one, for Pallas takes a while."""
    from jaxapprox._src.estimates.fused import kernels

    return kernels


def _cuda() -> ModuleType:
    from jaxapprox._src.estimates.fused.triton import kernels

    return kernels


PLATFORMS = {
    "tpu": Platform("TPUs", by_default=True, kernels=_tpu),
    "cuda": Platform("NVIDIA GPUs", by_default=False, kernels=_cuda),  # of matrices XLA's form is faster
}
