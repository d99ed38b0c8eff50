"""TPU chips that programs can be compiled for without one: what is published of them, and the names of topologies.

JAX plays no part here: a name is looked at before it is imported.
"""

import importlib.util
import math
import re
from typing import NamedTuple

from experiments.process.errors import UsageError

_GIBIBYTE = 2**30


class Chip(NamedTuple):
    """A chip, by Google's public figures.

    Attributes:
        flops_per_second: of bfloat16 products, as which float32 ones run too unless a higher precision is asked for.
        bytes_per_second: between the chip and its main memory (HBM).
        memory: bytes of that.
        dimensions: of a topology of such chips.
        longest: of these, at most.
        example: a topology.
    """

    flops_per_second: float
    bytes_per_second: float
    memory: int
    dimensions: int
    longest: int
    example: str

    def divided(self, devices: int) -> "Chip":
        """One of the equal devices that the compiler makes of a chip."""
        rates = self.flops_per_second / devices, self.bytes_per_second / devices
        return self._replace(flops_per_second=rates[0], bytes_per_second=rates[1], memory=self.memory // devices)


CHIPS = {
    "v5e": Chip(197e12, 819e9, 16 * _GIBIBYTE, 2, 16, "v5e:2x2"),
    "v5p": Chip(459e12, 2765e9, 95 * _GIBIBYTE, 3, 28, "v5p:2x2x1"),
    "v6e": Chip(918e12, 1640e9, 32 * _GIBIBYTE, 2, 16, "v6e:2x2"),
    "v4": Chip(275e12, 1228e9, 32 * _GIBIBYTE, 3, 16, "v4:2x2x1"),
}
"""By the generation that a topology's name begins with."""


def check_topology(flag: str, value: str, prefix: str = "") -> tuple[str, Chip, int]:
    """The name of a topology, the kind of chip that it has, and how many.

    Args:
        flag: that it was given by, for the message.
        value: of the flag, such as "v5e:2x2".
        prefix: that the flag has before the name.

    Raises:
        UsageError: if the name is that of no topology, or libtpu, which has the compiler, is not installed.
    """
    name = value.removeprefix(prefix)
    found = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", name) if value.startswith(prefix) else None
    chip = CHIPS.get(found[1]) if found else None
    sides = [int(side) for side in found[2].split("x")] if found else []
    # XLA ends the process where there are more sides, or longer ones.
    if chip is None or len(sides) != chip.dimensions or not all(1 <= side <= chip.longest for side in sides):
        examples = ", ".join(prefix + known.example for known in CHIPS.values())
        raise UsageError(f"{flag} must be a generation of TPUs and the sides of a topology ({examples}), got {value}")
    if importlib.util.find_spec("libtpu") is None:
        raise UsageError(f"{flag} needs libtpu, which has the compiler: pip install 'jaxapprox[tpu]'")
    return name, chip, math.prod(sides)
