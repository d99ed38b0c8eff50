"""A record of what the layers of a model multiply, taken while the model runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxapprox._src.conversion.layer_products import Shape, examples, shape_of


class Recorder:
    """Keeps what a model's layers multiply: the operands of each layer's first call, and the number of its calls.

    It is told from within the model, traced or not, as in an `nn.scan`.
    """

    def __init__(self) -> None:
        self.operands: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, int] = {}

    def noted(self, y: jax.Array, path: str, x: jax.Array, kernel: jax.Array, **settings: Any) -> jax.Array:
        """Keeps the operands that y comes from, and returns y; `settings` are those of `shape_of`."""
        self.settings[path] = settings

        def keep(x: Any, kernel: Any) -> Any:
            self.operands.setdefault(path, (np.array(x), np.array(kernel)))  # copies: the buffers are the caller's
            self.calls[path] = self.calls.get(path, 0) + 1
            return np.zeros((), y.dtype)

        # `nn.scan` allows no effects: what counts as pure is called only if its result is of use.
        return y + jax.pure_callback(keep, jax.ShapeDtypeStruct((), y.dtype), x, kernel, vmap_method="sequential")

    def products(self) -> dict[str, tuple[Shape, jax.Array, jax.Array]]:
        """The shape and the operands of each layer's product, by path; x has one batch axis."""
        found = {}
        for path, operands in self.operands.items():
            x, kernel = map(jnp.asarray, operands)
            x = examples(x, kernel)
            found[path] = (shape_of(x, kernel, **self.settings[path]), x, kernel)
        return found
