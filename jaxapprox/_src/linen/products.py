"""What Flax's layers compute, by their own code, with another product in the place of theirs."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxapprox._src.conversion.refusals import own_product
from jaxapprox._src.conversion.settings import integers
from jaxapprox._src.estimates import products
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.linen.einsum import call_einsum
from jaxapprox._src.linen.transposed import call_transposed
from jaxapprox._src.overriding import Overriding

# The layers that can be replaced, and what each computes its product by.
PRODUCTS: dict[type[nn.Module], Callable[..., jax.Array]] = {
    nn.Conv: lax.conv_general_dilated,
    nn.ConvTranspose: lax.conv_transpose,
    nn.Dense: lax.dot_general,
    nn.DenseGeneral: lax.dot_general,
    nn.Einsum: jnp.einsum,
}
# Of those in which Flax leaves no choice of the product: calls that do.
_CALLS: dict[type[nn.Module], Callable[..., jax.Array]] = {nn.Einsum: call_einsum, nn.ConvTranspose: call_transposed}
SCORES = "scores"
"""The collection in which sampled layers keep what their rows were drawn by, as "rows"."""
_GEOMETRY = ("kernel_size", "strides", "padding", "input_dilation", "kernel_dilation")


def call_with(
    product: Callable[..., jax.Array] | None, kind: type[nn.Module], module: nn.Module, *args: Any, **kwargs: Any
) -> jax.Array:
    """What a layer of the class `kind` computes in a call with these arguments.

    It is to be called within a compact call of `module`, which has the attributes of that class.

    Args:
        product: stands in the place of `PRODUCTS[kind]`, with its arguments; None for the layer as it is.
        kind: one of `PRODUCTS`.
        module: the layer.
        *args, **kwargs: the arguments of the call.
    """
    settings = {name: integers(getattr(module, name)) for name in _GEOMETRY if hasattr(module, name)}
    call: Callable[..., jax.Array] = inspect.unwrap(kind.__call__)
    if product is not None and kind in _CALLS:
        call = partial(_CALLS[kind], product)
    elif product is not None:
        name = PRODUCTS[kind].__name__
        settings |= {name: product, f"{name}_cls": None}
    return call(Overriding(module, **settings), *args, **kwargs)


def estimated(
    method: MC, key: jax.Array | None, kind: type[nn.Module], module: nn.Module, *args: Any, **kwargs: Any
) -> jax.Array:
    """`call_with` an estimate of the product; without a key exact, by a product of the module's own if it has one.

    In a call in which the collection "scores" is mutable, the scores that rows are drawn by are put there; in others,
    rows are drawn by those that lie there, if any do.

    Raises:
        ValueError: if there is to be an estimate of a product of the module's own; or as the estimate does.
    """
    refusal = own_product(module)
    if refusal and key is not None:
        raise ValueError(refusal)
    name = PRODUCTS[kind].__name__
    if key is None and (refusal or name not in ("conv_general_dilated", "dot_general")):
        return call_with(None, kind, module, *args, **kwargs)
    renewed = module.is_mutable_collection(SCORES) and not module.is_initializing()
    kept = None if renewed or not method.samples_the_value else module.get_variable(SCORES, "rows")

    def product(*operands: Any, **settings: Any) -> jax.Array:
        y, scores = getattr(products, name)(method, key, kept, *operands, **settings)
        if renewed and scores is not None:
            module.put_variable(SCORES, "rows", scores)
        return y

    return call_with(product, kind, module, *args, **kwargs)
