"""A layer's product as a stack of smaller ones, each sampled by itself: groups of channels, entries of batch axes."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.conversion.layer_products import Product
from jaxapprox._src.estimates.conv_maps import flipped
from jaxapprox._src.estimates.products import einsum_as_dot


class Groups(NamedTuple):
    """Products without groups or batch axes, all by the same function.

    Attributes:
        product: what each of them is, in full precision.
        x: `(groups, examples, *spatial, in)`.
        kernel: `(groups, *window, in, out)`; no spatial axes and no window for a matrix product.
    """

    product: Product
    x: jax.Array
    kernel: jax.Array


def groups_of(product: Product, lhs: jax.Array, rhs: jax.Array) -> Groups:
    """The groups of a layer's product, in float32."""
    lhs, rhs = lhs.astype(jnp.float32), rhs.astype(jnp.float32)
    arguments = {**dict(product.arguments), "precision": lax.Precision.HIGHEST}
    arguments.pop("preferred_element_type", None)
    if product.name == "conv_general_dilated":
        number = arguments.pop("feature_group_count", 1)
        return Groups(_product(product.name, arguments), *(_split_last_axis(a, number) for a in (lhs, rhs)))
    if product.name == "conv_transpose":
        if arguments.pop("transpose_kernel", False):
            rhs = flipped(rhs)
        return Groups(_product(product.name, arguments), lhs[None], rhs[None])
    if product.name == "einsum":
        lhs, rhs, axes, _ = einsum_as_dot(arguments["equation"], lhs, rhs)
        return _matrices(axes, lhs, rhs)
    return _matrices(arguments["dimension_numbers"], lhs, rhs)


def _product(name: str, arguments: dict[str, Any]) -> Product:
    return Product(name, tuple(arguments.items()))


def _split_last_axis(a: jax.Array, number: int) -> jax.Array:
    return jnp.moveaxis(a.reshape(*a.shape[:-1], number, -1), -2, 0)


def _matrices(dimension_numbers: Any, lhs: jax.Array, rhs: jax.Array) -> Groups:
    (lhs_contracted, rhs_contracted), (lhs_batch, rhs_batch) = dimension_numbers
    free = [i for i in range(lhs.ndim) if i not in (*lhs_contracted, *lhs_batch)]
    features = [i for i in range(rhs.ndim) if i not in (*rhs_contracted, *rhs_batch)]
    x = jnp.transpose(lhs, (*lhs_batch, *free, *lhs_contracted))
    kernel = jnp.transpose(rhs, (*rhs_batch, *rhs_contracted, *features))
    number, inputs = (_size(lhs, axes) for axes in (lhs_batch, lhs_contracted))
    arguments = {"dimension_numbers": (((1,), (0,)), ((), ())), "precision": lax.Precision.HIGHEST}
    x, kernel = x.reshape(number, _size(lhs, free), inputs), kernel.reshape(number, inputs, _size(rhs, features))
    return Groups(_product("dot_general", arguments), x, kernel)


def _size(a: jax.Array, axes: Any) -> int:
    return math.prod(a.shape[i] for i in axes)
