"""What the kernels of all platforms are told of a product besides its operands."""

import dataclasses
from typing import Any

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
