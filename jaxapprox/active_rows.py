"""A dense layer's active units alone, without an array of all units."""

from jaxapprox._src.blockwise.active_rows import RowGradient, add_rows, forward, pull_back

__all__ = ["RowGradient", "add_rows", "forward", "pull_back"]
