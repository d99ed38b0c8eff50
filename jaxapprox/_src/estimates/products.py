"""The products that layers compute, as `jax.lax` and `jax.numpy` have them, estimated by Monte Carlo.

Each takes a method, a key and scores before the arguments of its model, and returns the product and the scores that its
rows were drawn by: those that it is given, or without them its own. Without a key the product is exact, and where no
row of it is drawn there are no scores. What can't be sampled is refused by a `ValueError` of one line.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.estimates.contraction import Estimated
from jaxapprox._src.estimates.conv_maps import flipped
from jaxapprox._src.estimates.convolutions import convolve, convolve_transposed
from jaxapprox._src.estimates.dot import Axes, dot
from jaxapprox._src.estimates.einsum_axes import einsum_axes
from jaxapprox._src.estimates.geometry import channels_last
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.explicit_axes import as_auto


def conv_general_dilated(
    method: MC,
    key: jax.Array | None,
    scores: jax.Array | None,
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Estimated:
    """`lax.conv_general_dilated`: lhs `(batch, *spatial, in)`, rhs `(*window, in / groups, out)`."""
    exact = functools.partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )
    numbers = channels_last(lhs.ndim - 2)
    if lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers) != numbers:
        raise ValueError(f"dimension_numbers must be those of channels last, {numbers}, got {dimension_numbers}")
    if key is None and not (_are_inexact(lhs, rhs) and lhs.ndim in (3, 4, 5)):
        return exact(lhs, rhs), None
    estimated = functools.partial(
        convolve,
        method,
        strides=window_strides,
        padding=padding,
        input_dilation=1 if lhs_dilation is None else lhs_dilation,
        kernel_dilation=1 if rhs_dilation is None else rhs_dilation,
        groups=feature_group_count,
        precision=precision,
        dtype=preferred_element_type,
    )
    return as_auto(estimated, lambda key, scores, lhs, rhs: exact(lhs, rhs), key, scores, lhs, rhs)


def conv_transpose(
    method: MC,
    key: jax.Array | None,
    scores: jax.Array | None,
    lhs: jax.Array,
    rhs: jax.Array,
    strides: Sequence[int],
    padding: Any,
    rhs_dilation: Sequence[int] | None = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Estimated:
    """`lax.conv_transpose`: lhs `(batch, *spatial, in)`, rhs `(*window, in, out)`.

    With `transpose_kernel` rhs is the kernel `(*window, out, in)` of the convolution of which this is the gradient.
    """
    exact = functools.partial(
        lax.conv_transpose,
        strides=strides,
        padding=padding,
        rhs_dilation=rhs_dilation,
        transpose_kernel=transpose_kernel,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    if key is None and not (_are_inexact(lhs, rhs) and lhs.ndim in (3, 4, 5)):
        return exact(lhs, rhs), None

    def estimated(key, scores, lhs, rhs):
        kernel = flipped(rhs) if transpose_kernel else rhs
        dilation = 1 if rhs_dilation is None else rhs_dilation
        return convolve_transposed(
            method, key, scores, lhs, kernel, strides, padding, dilation, precision, preferred_element_type
        )

    return as_auto(estimated, lambda key, scores, lhs, rhs: exact(lhs, rhs), key, scores, lhs, rhs)


def dot_general(
    method: MC,
    key: jax.Array | None,
    scores: jax.Array | None,
    lhs: jax.Array,
    rhs: jax.Array,
    dimension_numbers: Axes,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Estimated:
    """`lax.dot_general`: lhs is the layer's input, rhs its kernel."""

    def exact(key, scores, lhs, rhs):
        return lax.dot_general(
            lhs, rhs, dimension_numbers, precision, preferred_element_type, out_sharding=out_sharding
        )

    if key is None:
        return exact(key, scores, lhs, rhs), None
    estimated = functools.partial(
        dot, method, axes=dimension_numbers, precision=precision, dtype=preferred_element_type
    )
    return as_auto(estimated, exact, key, scores, lhs, rhs)


def einsum(
    method: MC,
    key: jax.Array | None,
    scores: jax.Array | None,
    equation: str,
    lhs: jax.Array,
    rhs: jax.Array,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Estimated:
    """`jnp.einsum` of two operands: lhs is the layer's input, rhs its kernel.

    The rows of its sum are the entries of the axes that both have and the result has not; an axis that the other
    operand and the result lack is summed over beforehand.
    """

    def exact(key, scores, lhs, rhs):
        return jnp.einsum(
            equation,
            lhs,
            rhs,
            precision=precision,
            preferred_element_type=preferred_element_type,
            out_sharding=out_sharding,
        )

    if key is None:
        return exact(key, scores, lhs, rhs), None

    def estimated(key, scores, lhs, rhs):
        x, kernel, axes, order = einsum_as_dot(equation, lhs, rhs)
        y, scores = dot(method, key, scores, x, kernel, axes, precision, preferred_element_type)
        return lax.transpose(y, order), scores

    return as_auto(estimated, exact, key, scores, lhs, rhs)


def einsum_as_dot(equation: str, lhs: jax.Array, rhs: jax.Array) -> tuple[jax.Array, jax.Array, Axes, list[int]]:
    """The operands of `dot`, its axes, and the order in which its result's axes are those of `jnp.einsum`.

    Raises:
        ValueError: if an operand has two axes of one name.
    """
    of_lhs, of_rhs, result = einsum_axes(equation, lhs.ndim, rhs.ndim)
    for name in (of_lhs, of_rhs):
        if len(set(name)) != len(name):
            raise ValueError(f"einsum_str must name each axis of an operand once, got {equation!r}")
    x, x_names = _summed(lhs, of_lhs, of_rhs + result)
    kernel, kernel_names = _summed(rhs, of_rhs, of_lhs + result)
    common = [name for name in x_names if name in kernel_names]
    contracted, batch = ([name for name in common if (name in result) == kept] for kept in (False, True))
    axes = _places(contracted, x_names, kernel_names), _places(batch, x_names, kernel_names)
    free = [name for name in x_names + kernel_names if name not in common]
    return x, kernel, axes, [[*batch, *free].index(name) for name in result]


def _places(axes: list[str], *operands: str) -> Any:
    """Where the axes are in each operand, given the names of its axes."""
    return tuple([names.index(axis) for axis in axes] for names in operands)


def _summed(a: jax.Array, names: str, others: str) -> tuple[jax.Array, str]:
    """`a` summed over the axes that no other operand and no result names, and the names of the rest."""
    alone = [i for i, name in enumerate(names) if name not in others]
    return jnp.sum(a, alone), "".join(name for name in names if name in others)


def _are_inexact(lhs: jax.Array, rhs: jax.Array) -> bool:
    return lhs.dtype == rhs.dtype and jnp.issubdtype(lhs.dtype, jnp.inexact)
