"""A record of what the layers of a model multiply, taken while the model runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxapprox._src.conversion.layer_products import Product, product_of


class Recorded(NamedTuple):
    """A layer's product in its first call, with its operands."""

    product: Product
    lhs: np.ndarray
    rhs: np.ndarray


class Recorder:
    """Keeps what a model's layers multiply: the operands of each layer's first call, and the number of its calls.

    It is told from within the model, traced or not, as in an `nn.scan`.
    """

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self._products: dict[str, Product] = {}
        self._operands: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def watched(self, path: str, name: str, function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        """`function` for the layer at `path` to compute its product by, so that it is recorded.

        Args:
            path: of the layer.
            name: of the function in `estimates/products.py` that has the arguments of `function`:
                "conv_general_dilated", "conv_transpose", "dot_general" or "einsum".
            function: the product as the layer computes it, such as `lax.dot_general`.

        Returns:
            A function that has the arguments and the result of `function`.
        """

        def recorded(*args: Any, **kwargs: Any) -> jax.Array:
            product, lhs, rhs = product_of(name, *args, **kwargs)
            self._products[path] = product
            y = function(*args, **kwargs)

            def keep(lhs: Any, rhs: Any) -> Any:
                # Copies: the buffers are the caller's.
                self._operands.setdefault(path, (np.array(lhs), np.array(rhs)))
                self.calls[path] = self.calls.get(path, 0) + 1
                return np.zeros((), y.dtype)

            # `nn.scan` allows no effects: what counts as pure is called only if its result is of use.
            kept = jax.pure_callback(keep, jax.ShapeDtypeStruct((), y.dtype), lhs, rhs, vmap_method="sequential")
            return y + kept

        return recorded

    def recorded(self) -> dict[str, Recorded]:
        """What each layer multiplied in its first call, by path, in the order of the calls."""
        return {path: Recorded(self._products[path], *operands) for path, operands in self._operands.items()}
