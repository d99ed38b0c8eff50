"""Reasons why a layer stays exact: its class, its own settings, or what a trial of its replacement raises."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.softmax.settings import SampledSoftmax

# The products of Flax's layers that a user can replace, with what each is by default beside None.
_PRODUCTS: dict[str, Any] = {
    "conv_general_dilated": lax.conv_general_dilated,
    "conv_general_dilated_cls": None,
    "dot_general": lax.dot_general,
    "dot_general_cls": None,
    "einsum_op": jnp.einsum,
}


# Reasons that lie in a layer's class, not in how it was made.
BY_CLASS = (
    *("already approximate", "a subclass", "left alone", "ALSH is for dense layers"),
    "SampledSoftmax is for dense layers and embeddings",
)
_APPROXIMATE, _SUBCLASS, _OTHER, _NOT_DENSE, _NO_CLASSES = BY_CLASS


def left_alone(layer: Any, replaceable: tuple[type, ...], approximate: tuple[type, ...]) -> str:
    """The reason why no method can replace a layer of this class, or an empty string.

    Args:
        layer: a module of either Flax API.
        replaceable: the classes that can be replaced in that API.
        approximate: the classes that replace them.
    """
    if isinstance(layer, approximate):
        return _APPROXIMATE
    if type(layer) in replaceable:
        return ""
    return _SUBCLASS if isinstance(layer, replaceable) else _OTHER


def unsuited(layer: Any, method: Approximation | None, inputs: int, dense: type, embed: type) -> str:
    """The reason why `method` can't replace a layer of these settings, or an empty string if it may.

    Args:
        layer: a module of either Flax API, of a class that can be replaced.
        method: the method, None for exact.
        inputs: the layer's input channels, within a group.
        dense, embed: the classes of dense layers and of embeddings in that API.
    """
    if method is None:
        return ""
    if isinstance(method, ALSH) and type(layer) is not dense:
        return _NOT_DENSE
    if isinstance(method, SampledSoftmax):
        return refused_with_labels(layer) if type(layer) in (dense, embed) else _NO_CLASSES
    if inputs == 1 and getattr(layer, "feature_group_count", 1) > 1:
        return f"a depthwise convolution (feature_group_count = {layer.feature_group_count}): no channel to leave out"
    return own_product(layer)


def own_product(layer: Any) -> str:
    """A line that names the product of its own with which a layer was made, or an empty string if it has none."""
    for name, default in _PRODUCTS.items():
        product = getattr(layer, name, None)
        if product is not None and product is not default:
            got = getattr(product, "__name__", type(product).__name__)
            return f"{name} must be None for an approximate product, got {got}"
    return ""


def refused_with_labels(layer: Any) -> str:
    """A line that names what a layer was made with that its loss from labels can't honour, or an empty string."""
    for name in ("dot_general", "dot_general_cls", "precision", "preferred_element_type"):
        value = getattr(layer, name, None)
        if value is not None and value is not _PRODUCTS.get(name):
            return f"{name} must be None where labels are given, got {getattr(value, '__name__', value)}"
    return ""


def trial(call: Callable[..., Any], *args: Any) -> str:
    """The line with which `call(*args)` fails, or an empty string; nothing is computed."""
    try:
        jax.eval_shape(call, *args)
    except Exception as error:  # whatever it is, it is the reason
        return " ".join(str(error).split()) or type(error).__name__
    return ""
