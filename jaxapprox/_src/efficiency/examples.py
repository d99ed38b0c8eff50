"""Examples, and batches made of them."""

from typing import Any

import jax
import jax.numpy as jnp


def check_examples(examples: Any) -> int:
    """The number of examples in a tree of arrays, of which that is the leading axis.

    Raises:
        ValueError: if there are no arrays, or their leading axes differ.
    """
    shapes = {jnp.shape(leaf) for leaf in jax.tree.leaves(examples)}
    leading = {shape[:1] for shape in shapes}
    if len(leading) != 1 or leading == {()}:
        raise ValueError(f"examples must be arrays with one leading axis, got shapes {sorted(shapes) or 'none'}")
    (number,) = leading.pop()
    return number


def batch_of(examples: jax.Array, size: int) -> jax.Array:
    """A batch of the first examples `(n, ...)`; where there are too few, they come again."""
    return jnp.asarray(examples)[jnp.arange(size) % len(examples)]
