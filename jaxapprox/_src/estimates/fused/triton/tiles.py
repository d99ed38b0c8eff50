"""The tiles of the kernels for GPUs: each program of a grid has a tile of the result, and sums in steps of some depth.

Chosen by rules of thumb: no other tiles have been timed.
"""

import itertools
import math
from typing import NamedTuple

LEAST = 16  # rows, columns and depth of a product on tensor cores
_MOST = 128
_STEP_BYTES = 128  # of the sum, for each row and column of a step: 64 numbers of 16 bits
_PROGRAMS = 128  # that fill a large GPU: an A100 has 108 multiprocessors, an H100 132
_FEW_WARPS, _MANY_WARPS = 4, 8
_LARGE = 128 * 64  # numbers of a tile, from which many warps hold its sum
STAGES = 3  # steps whose copies are under way


class Axis(NamedTuple):
    """An axis that is cut into tiles.

    Attributes:
        size: its length.
        block: what tiles must divide; None where they may reach beyond the end, which is masked.
    """

    size: int
    block: int | None = None

    def widths(self, most: int) -> list[int]:
        """The powers of two that its tiles may have, at most `most`."""
        doubled = [LEAST << i for i in range((most // LEAST).bit_length())]
        if self.block is not None:
            return [width for width in doubled if self.block % width == 0]
        return [width for width in doubled if width < 2 * self.size] or [LEAST]


class Work(NamedTuple):
    """A sum of products, as a program's tile sees it.

    Attributes:
        rows, columns: of the result.
        depth: what is summed over.
        others: results of this shape.
    """

    rows: Axis
    columns: Axis
    depth: Axis
    others: int = 1


class Tiles(NamedTuple):
    """Rows and columns of a program's tile, and how much of the sum a step takes: powers of two."""

    rows: int
    columns: int
    depth: int

    def grid(self, work: Work) -> tuple[int, int]:
        """The number of tiles across rows, and that across columns."""
        return steps(work.rows.size, self.rows), steps(work.columns.size, self.columns)

    @property
    def warps(self) -> int:
        """The warps of 32 threads that share a tile."""
        return _MANY_WARPS if self.rows * self.columns > _LARGE else _FEW_WARPS


def best(work: Work, itemsize: int) -> Tiles:
    """The largest tiles of which there are enough to fill a GPU, or the smallest that are not tiny."""
    depth = work.depth.widths(_STEP_BYTES // itemsize)[-1]
    of_axes = (axis.widths(_MOST)[-3:] for axis in (work.rows, work.columns))
    every = [Tiles(rows, columns, depth) for rows, columns in itertools.product(*of_axes)]

    def area(tiles: Tiles) -> tuple[int, int]:
        return tiles.rows * tiles.columns, min(tiles.rows, tiles.columns)

    enough = [tiles for tiles in every if math.prod(tiles.grid(work)) * work.others >= _PROGRAMS]
    return max(enough, key=area) if enough else min(every, key=area)


def steps(size: int, width: int) -> int:
    """How many tiles cover an axis."""
    return -(-size // width)
