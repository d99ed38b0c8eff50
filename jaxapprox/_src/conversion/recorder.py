"""What the layers of a model multiply, seen while the model runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxapprox._src.conversion.layer_products import Shape, examples, shape_of


class Recorder:
    """Keeps what a model's layers multiply: of each the operands of the first call, and how many calls there were.

    It is told from within the model, traced or not, as in an `nn.scan`.
    """

    def __init__(self) -> None:
        self.operands: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, int] = {}

    def noted(self, y: jax.Array, path: str, x: jax.Array, kernel: jax.Array, **settings: Any) -> jax.Array:
        """y, once the operands it comes from are kept; `settings` are those of `shape_of`."""
        self.settings[path] = settings

        def keep(x: Any, kernel: Any) -> Any:
            self.operands.setdefault(path, (np.array(x), np.array(kernel)))  # copies: the buffers are the caller's
            self.calls[path] = self.calls.get(path, 0) + 1
            return np.zeros((), y.dtype)

        # `nn.scan` allows no effects: what counts as pure is called only if its result is of use.
        return y + jax.pure_callback(keep, jax.ShapeDtypeStruct((), y.dtype), x, kernel, vmap_method="sequential")

    def products(self) -> dict[str, tuple[Shape, jax.Array, jax.Array]]:
        """By path, the shape and the operands of what was multiplied, with one batch axis."""
        found = {}
        for path, operands in self.operands.items():
            x, kernel = map(jnp.asarray, operands)
            x = examples(x, kernel)
            found[path] = (shape_of(x, kernel, **self.settings[path]), x, kernel)
        return found
