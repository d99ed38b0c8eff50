"""A dense layer's active units alone, without an array of all units: not in the output, and not in the gradient.

`forward` computes y_bs = w_{ids_bs} . x_b + bias_{ids_bs}, `pull_back` gives the gradients (that of the weights by its
factors, as a `RowGradient`), and `add_rows` adds a multiple of it to the rows that it touches; `to_blocks` makes of it
what `jaxapprox.lazy` optimizers take. `embed` is for the other end of a network: rows looked up by their ids. Weights
are `(units, features)`.
"""

from jaxapprox._src.blockwise.active_rows import RowGradient, add_rows, forward, pull_back, to_blocks
from jaxapprox._src.blockwise.embedding import embed

__all__ = ["RowGradient", "add_rows", "embed", "forward", "pull_back", "to_blocks"]
