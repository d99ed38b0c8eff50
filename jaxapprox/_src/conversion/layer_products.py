"""The product inside a layer, exact and approximated."""

import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxapprox._src.conversion.approximation import ProductApproximation
from jaxapprox._src.estimates import products
from jaxapprox._src.hashing.active_dense import active_dense
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.hashing.tables import Tables


@dataclasses.dataclass(frozen=True)
class Product:
    """A product that a layer computes, without its operands.

    Attributes:
        name: of the function in `estimates/products.py`, and in `jax.lax` or `jax.numpy`.
        arguments: all arguments of that function but the operands, by name.
    """

    name: str
    arguments: tuple[tuple[str, Any], ...]


def product_of(name: str, *args: Any, **kwargs: Any) -> tuple[Product, jax.Array, jax.Array]:
    """A call of the function `name` as a product and its operands: the layer's input and its kernel."""
    arguments = inspect.signature(getattr(products, name)).bind(None, None, None, *args, **kwargs).arguments
    lhs, rhs = arguments["lhs"], arguments["rhs"]
    # Where the result lies is no part of the product, which is repeated on one device.
    left_out = ("method", "key", "scores", "lhs", "rhs", "out_sharding")
    kept = tuple((name, _hashable(value)) for name, value in arguments.items() if name not in left_out)
    return Product(name, kept), lhs, rhs


def _hashable(value: Any) -> Any:
    """Lists and arrays as tuples."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return tuple(map(_hashable, value)) if type(value) in (list, tuple) else value


def exact(product: Product, lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    """The product as Flax's own layers compute it."""
    arguments = dict(product.arguments)
    if product.name == "einsum":
        return jnp.einsum(arguments.pop("equation"), lhs, rhs, **arguments)
    return getattr(lax, product.name)(lhs, rhs, **arguments)


def approximate(
    product: Product, method: ProductApproximation, key: jax.Array, tables: Any, lhs: jax.Array, rhs: jax.Array
) -> jax.Array:
    """The product as jaxapprox's layers compute it; `tables` are those of `hash_tables`."""
    if isinstance(method, ALSH):  # for dense layers alone: rhs is (in, out)
        x = lhs.reshape(-1, lhs.shape[-1])
        ids = method.active_set(key, tables, x, method.size(rhs.shape[-1]))
        return active_dense(x, rhs, None, ids, form=method.form).reshape(*lhs.shape[:-1], -1)
    return getattr(products, product.name)(method, key, None, lhs=lhs, rhs=rhs, **dict(product.arguments))[0]


def hash_tables(key: jax.Array, method: ProductApproximation, rhs: jax.Array) -> Tables | None:
    """The tables that `approximate` by an `ALSH` needs beside the operands; None for an `MC`."""
    return method.build(key, rhs.T) if isinstance(method, ALSH) else None
