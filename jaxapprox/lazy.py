"""Lazy optimizers: any optax optimizer, on blocks of the parameters and of its state alone."""

from jaxapprox._src.blockwise.lazy import apply_updates, lazy

__all__ = ["apply_updates", "lazy"]
