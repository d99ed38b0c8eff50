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


def batches_of(examples: jax.Array, *shape: int) -> jax.Array:
    """The first examples `(n, ...)` as `(*shape, ...)`; where there are too few, they come again."""
    number = 1
    for length in shape:
        number *= length
    chosen = jnp.asarray(examples)[jnp.arange(number) % len(examples)]
    return chosen.reshape(*shape, *chosen.shape[1:])
