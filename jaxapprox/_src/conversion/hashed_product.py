"""The product that a hashed layer computes where Flax's dense layer computes one of all units."""

from typing import Any

import jax

from jaxapprox._src.conversion.refusals import own_product
from jaxapprox._src.hashing.active_dense import gathered_product, gathers


def product_of(layer: Any, form: str, ids: jax.Array, units: int) -> dict[str, Any]:
    """The attributes to override in a layer of Flax's so that its product is computed in the form that suits its sets.

    A layer with a product of its own computes all units by that.

    Args:
        layer: an `nn.Dense` or an `nnx.Linear`.
        form: as in `jaxapprox.lsh.active_dense`.
        ids: the active sets.
        units: the layer's.

    Raises:
        ValueError: if the form is "gathered" and the layer has a product of its own.
    """
    own = own_product(layer)
    if own and form == "gathered":
        raise ValueError("form must be masked or auto for a layer with a product of its own, got gathered")
    if own or not gathers(form, ids, units):
        return {}

    def product(lhs: jax.Array, rhs: jax.Array, dimension_numbers: Any, **settings: Any) -> jax.Array:
        return gathered_product(lhs, rhs, ids, **settings)

    return {"dot_general": product, "dot_general_cls": None}
