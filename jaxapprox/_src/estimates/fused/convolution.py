"""What the kernels of all platforms are told of a product besides its operands."""

import dataclasses
from typing import Any, NamedTuple

from jaxapprox._src.estimates.fused.taps import Tap, split_inputs, taps_of
from jaxapprox._src.estimates.geometry import Geometry


@dataclasses.dataclass(frozen=True)
class Fused:
    """A convolution of which blocks of channels are sampled, without its operands.

    Attributes:
        geometry: of the convolution; without spatial axes it is a product of matrices.
        block: channels of a block.
        precision: of the products, as `lax.dot_general` takes it.
        interpret: whether Pallas's interpreter runs the kernels, on any machine.
    """

    geometry: Geometry
    block: int
    precision: Any = None
    interpret: bool = False

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The spatial shape of the input, as the kernels for TPUs take it."""
        return split_inputs(self.geometry)

    @property
    def taps(self) -> list[Tap]:
        """The taps of its window, as these kernels take them."""
        return taps_of(self.geometry)


class Limits(NamedTuple):
    """What a platform's kernels take.

    Attributes:
        block: channels that a block must be a multiple of.
        dtypes: of the factors.
        precisions: of the products.
    """

    block: int
    dtypes: tuple[Any, ...]
    precisions: tuple[Any, ...]

    def refusal(self, fused: Fused, a: Any, b: Any) -> str:
        """Why they can't compute a product of these factors, or of such shapes, as the end of a sentence; or ""."""
        if fused.block % self.block:
            return f"for blocks of {fused.block} channels, which are no multiple of {self.block}"
        for factor in (a, b):
            if factor.dtype not in self.dtypes:
                return f"for {factor.dtype}"
        if fused.precision not in self.precisions:
            return f"at precision {fused.precision}"
        return f"for shapes {a.shape} and {b.shape}" if 0 in (*a.shape, *b.shape) else ""
