"""Lazy optimizers: any optax optimizer, on blocks of the parameters and of its state alone.

`lazy(optimizer)` takes updates that are trees of `jaxapprox.blocks.Block`; `apply_updates` adds its updates to the
parameters. What lies outside the blocks is neither read nor written. `rowwise_adagrad` is Adagrad with a state of one
number for each row.
"""

from jaxapprox._src.blockwise.lazy import apply_updates, lazy
from jaxapprox._src.blockwise.rowwise_adagrad import rowwise_adagrad

__all__ = ["apply_updates", "lazy", "rowwise_adagrad"]
