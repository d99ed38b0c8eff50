"""Computation in another dtype than that of the parameters: what `--dtype` asks for."""

from typing import Any

import jax
import jax.numpy as jnp


def cast(tree: Any, dtype: Any) -> Any:
    """The floating arrays of a tree in this dtype; its other leaves as they are."""
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)
