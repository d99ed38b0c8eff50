"""The tiles of the kernels, and what each costs.

A kernel's grid runs over tiles of examples and of outputs; the sampled blocks are its innermost axis. What a step reads
is copied from HBM into VMEM while the step before computes, unless that step had it already.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

LANES = 128
_SUBLANES = 16  # of a tile of 16-bit numbers; 32-bit ones fill two tiles of 8
_PLANNED_BYTES = 64 << 20  # of the 128 MiB that v5e and v6e have
_BESIDE_BYTES = 16 << 20  # for what a step computes in between
_STEP_BYTES = 1 << 18  # what memory moves in the 0.3 microseconds that a step of the grid takes by itself
_STEP_NUMBERS = 1 << 22  # that a step adds to: about 5 microseconds of products, which the compiler unrolls


class Moved(NamedTuple):
    """Bytes that a kernel moves between HBM and VMEM for its first factor, its second one, and its result."""

    first: int
    second: int
    result: int


class Sizes(NamedTuple):
    """The sizes of a block-sampled product.

    Attributes:
        seeds: products of the same sizes, each with a sample of its own.
        examples, channels, outputs: of each; its sum runs over the channels.
        block: channels of a block.
        slots: blocks of a sample.
        inputs, positions: positions of an example in the input and in the output.
        taps: of the window.
        itemsize: bytes of a number.
        out_itemsize: those of the result.
    """

    seeds: int
    examples: int
    channels: int
    outputs: int
    block: int
    slots: int
    inputs: int
    positions: int
    taps: int
    itemsize: int
    out_itemsize: int

    @property
    def kept(self) -> int:
        """Sampled channels."""
        return self.slots * self.block

    def moved(self, first: int, second: int, result: int) -> Moved:
        """The bytes of so many numbers for each seed."""
        each = first * self.itemsize, second * self.itemsize, result * self.out_itemsize
        return Moved(*(self.seeds * size for size in each))


class Tiles(NamedTuple):
    """How a kernel divides its work.

    Attributes:
        examples, outputs: that a step takes.
        resident: whether the sampled blocks (of the kernel's gradient those of x, else those of the kernel) are read
            once and stay in VMEM.
    """

    examples: int
    outputs: int
    resident: bool

    def grid(self, sizes: Sizes) -> tuple[int, int]:
        """The number of tiles of examples, and that of tiles of outputs."""
        return -(-sizes.examples // self.examples), -(-sizes.outputs // self.outputs)


class Cost(NamedTuple):
    """What a kernel moves, and the bytes of VMEM that it holds at once."""

    moved: Moved
    held: int

    @property
    def limit(self) -> int:
        """What a kernel is to take at most; XLA keeps its operands in the rest, if they fit."""
        return self.held + self.held // 4 + _BESIDE_BYTES


def best(cost: Callable[[Sizes, Tiles], Cost], sizes: Sizes) -> Tiles | None:
    """The tiles with which memory is busy for the shortest time, or None if none fit."""

    def time(tiles: Tiles) -> int:
        return sum(cost(sizes, tiles).moved) + _STEP_BYTES * math.prod(tiles.grid(sizes)) * sizes.slots

    def numbers(tiles: Tiles) -> int:
        return sizes.taps * sizes.positions * math.prod(whole_tiles(tiles.examples, tiles.outputs))

    examples = [sizes.examples, *_doubled(_SUBLANES, sizes.examples)]
    outputs = [sizes.outputs, *_doubled(LANES, sizes.outputs)]
    every = itertools.starmap(Tiles, itertools.product(examples, outputs, (True, False)))
    fitting = [tiles for tiles in every if cost(sizes, tiles).held <= _PLANNED_BYTES]
    least = min(map(numbers, fitting), default=0)
    return min((tiles for tiles in fitting if numbers(tiles) <= max(_STEP_NUMBERS, least)), key=time, default=None)


def _doubled(first: int, end: int) -> list[int]:
    """`first` and its doubles below `end`."""
    return [first << i for i in range(max(0, (end - 1) // first).bit_length())]


def whole_tiles(examples: int, outputs: int) -> tuple[int, int]:
    """Rows and columns as VMEM holds them."""
    return -(-examples // _SUBLANES) * _SUBLANES, -(-outputs // LANES) * LANES
