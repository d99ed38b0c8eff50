"""What the settings of Flax's NNX layers say about shapes: channels, stacking, and an input that fits."""

import math
from typing import Any

import jax
import numpy as np
from flax import nnx

Convolution = nnx.Conv | nnx.ConvTranspose


def features_of(layer: Any) -> tuple[int, int]:
    """Input and output channels or units, within a group of a grouped convolution; for an einsum those of its kernel.

    These are the rows of the layer's sum and what each contributes to; axes that input, kernel and output share are
    left out.
    """
    if isinstance(layer, nnx.Einsum):
        inputs, kernel, outputs = _terms(layer)
        sizes = dict(zip(kernel, layer.kernel_shape, strict=True))
        rows = math.prod(size for axis, size in sizes.items() if axis not in outputs)
        return rows, math.prod(size for axis, size in sizes.items() if axis in outputs and axis not in inputs)
    if isinstance(layer, nnx.Embed):
        return layer.features, layer.num_embeddings
    groups = getattr(layer, "feature_group_count", 1)
    return math.prod(_sizes(layer.in_features)) // groups, math.prod(_sizes(layer.out_features)) // groups


def stack_of(layer: Any) -> tuple[int, ...]:
    """The leading axes of its parameters that the layer's settings don't account for, made by `nnx.vmap`."""
    if isinstance(layer, Convolution):
        own = len(layer.kernel_size) + 2
    elif isinstance(layer, nnx.Einsum):
        own = len(layer.kernel_shape)
    elif isinstance(layer, nnx.LinearGeneral):
        own = len(layer.batch_axis) + len(layer.in_features) + len(layer.out_features)
    else:
        own = 2
    shape = (layer.embedding if isinstance(layer, nnx.Embed) else layer.kernel).shape
    return tuple(shape[: len(shape) - own])


def example_input(layer: Any) -> jax.ShapeDtypeStruct:
    """An input that the layer takes, of a few examples and, for a convolution, of an extent that any padding fits.

    Of an embedding it is a query for its `attend`.
    """
    if isinstance(layer, nnx.Embed):
        return jax.ShapeDtypeStruct((2, layer.features), layer.embedding.dtype)
    if isinstance(layer, Convolution):
        padding = 0 if isinstance(layer.padding, str) else int(np.max(np.abs(layer.padding)))
        reach = max(layer.kernel_size) * int(np.max(layer.kernel_dilation or 1))
        shape = (2, *[4 * reach + 2 * padding + 8] * len(layer.kernel_size), layer.in_features)
    elif isinstance(layer, nnx.Einsum):
        inputs, kernel, _ = _terms(layer)
        sizes = dict(zip(kernel, layer.kernel_shape, strict=True))
        shape = tuple(sizes.get(axis, 2) for axis in inputs)
    elif isinstance(layer, nnx.LinearGeneral):
        known = (*layer.axis, *layer.batch_axis)
        rank = max(max(known) + 1, 0) + max(-min(known), 0) + 1
        free = [2] * rank
        for axis, size in layer.batch_axis.items():
            free[axis] = size
        for axis, size in zip(sorted(axis % rank for axis in layer.axis), layer.in_features, strict=True):
            free[axis] = size
        shape = tuple(free)
    else:
        shape = (2, layer.in_features)
    return jax.ShapeDtypeStruct(shape, layer.kernel.dtype)


def _sizes(features: Any) -> tuple[int, ...]:
    return tuple(map(int, np.atleast_1d(features)))


def _terms(layer: nnx.Einsum) -> tuple[str, str, str]:
    """The axes of input, kernel and output of an einsum, with digits for those of an ellipsis."""
    operands, output = layer.einsum_str.split("->")
    inputs, kernel = operands.split(",")
    named = len(kernel.replace("...", ""))
    digits = "0123456789"[: len(layer.kernel_shape) - named if "..." in kernel else 1]
    return inputs.replace("...", digits), kernel.replace("...", digits), output.replace("...", digits)
