"""The product inside a layer: exact, approximated, and how far apart theory says that these are."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.estimates.conv import convolution
from jaxapprox._src.estimates.conv_maps import Conv, lax_conv
from jaxapprox._src.estimates.dense import dense
from jaxapprox._src.estimates.edges import edge_scores
from jaxapprox._src.estimates.geometry import Geometry, Padding, channels_last, make_geometry
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.estimates.slices import norms
from jaxapprox._src.hashing.active_dense import active_dense
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.hashing.tables import Tables
from jaxapprox._src.sampling.variance import predicted_variance

_PATCH_BYTES_AT_ONCE = 64 << 20


@dataclasses.dataclass(frozen=True)
class Shape:
    """What the time of a product depends on.

    Attributes:
        x: `(batch, *spatial, in)`.
        kernel: `(*window, in, out)`.
        dtype: the dtype of both.
        geometry: the geometry of a convolution; None for a dense product.
    """

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: jnp.dtype
    geometry: Geometry | None


def shape_of(
    x: jax.Array,
    kernel: jax.Array,
    strides: int | Sequence[int] | None = None,
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] | None = None,
) -> Shape:
    """The shape of a layer's product.

    Args:
        x: `(batch, *spatial, in)`, as `examples` gives it.
        kernel: `(*window, in, out)`.
        strides, padding, kernel_dilation: as in `jaxapprox.conv`; strides and dilation are 1 where None, as in Flax.
    """
    geometry = None
    if kernel.ndim > 2:
        geometry = make_geometry(x.shape, kernel.shape, strides or 1, padding, kernel_dilation or 1)
    return Shape(x.shape, kernel.shape, x.dtype, geometry)


def examples(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x `(*batch, *spatial, in)` with one batch axis."""
    return x.reshape(-1, *x.shape[1 - kernel.ndim :])


def exact(shape: Shape, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The product as Flax's own layers compute it."""
    if shape.geometry is None:
        return x @ kernel
    return lax_conv(Conv(shape.geometry), x, kernel)


def approximate(
    shape: Shape, method: Approximation, key: jax.Array, tables: Any, x: jax.Array, kernel: jax.Array
) -> jax.Array:
    """The product as jaxapprox's layers compute it; `tables` are those of `hash_tables`."""
    if isinstance(method, ALSH):
        ids = method.active_set(key, tables, x, method.size(shape.kernel[-1]))
        return active_dense(x, kernel, None, ids, form=method.form)
    g = shape.geometry
    if g is None:
        return dense(key, x, kernel, None, method)
    return convolution(key, x, kernel, None, method, strides=g.strides, padding=g.padding, kernel_dilation=g.dilation)


def hash_tables(key: jax.Array, method: Approximation, kernel: jax.Array) -> Tables | None:
    """The tables that `approximate` by an `ALSH` needs beside the operands; None for an `MC`."""
    return method.build(key, kernel.T) if isinstance(method, ALSH) else None


def relative_error(
    shape: Shape, method: Approximation, key: jax.Array, tables: Any, x: jax.Array, kernel: jax.Array
) -> float:
    r"""The relative error \sqrt{E |\hat y - y|^2 / |y|^2} of one call without the bias, over all examples together.

    For `MC` it is predicted by `predicted_variance` from the inner products of the rows' terms (for the sampler
    `systematic` approximately), in mode "backward" for the gradient that is off by more, the cotangent's entries taken
    as independent. For `ALSH`, of which no theory says it, it is measured on one draw. NaN where y is 0 or an
    operand is not finite.
    """
    if isinstance(method, ALSH):
        y = exact(shape, x, kernel)
        off = approximate(shape, method, key, tables, x, kernel) - y
        return float(jnp.linalg.norm(off.astype(jnp.float32)) / jnp.linalg.norm(y.astype(jnp.float32)))
    x, kernel = x.astype(jnp.float32), kernel.astype(jnp.float32)
    if method.mode == "backward":
        by_edge = shape.geometry is not None and method.unit == "edge"
        kernel_rows = jnp.linalg.norm(kernel.reshape(-1, *kernel.shape[-2:]), axis=1)  # (taps, out)
        gradient_rows = kernel_rows.reshape(-1) if by_edge else jnp.linalg.norm(kernel_rows, axis=0)
        return max(_error(method, scores, None) for scores in (gradient_rows, norms(x, 0)))
    if shape.geometry is None:
        gram = _inner(x, x) * _inner(kernel.T, kernel.T)
        return _error(method, norms(x, -1) * norms(kernel, -2), gram)
    gram = _edge_gram(shape.geometry, x, kernel)
    taps, channels = gram.shape[:2]
    if method.unit == "edge":
        edges = taps * channels
        return _error(method, edge_scores(shape.geometry, x, kernel), gram.reshape(edges, edges))
    return _error(method, norms(x, -1) * norms(kernel, -2), jnp.sum(gram, (0, 2)))


def _error(method: MC, scores: jax.Array, gram: jax.Array | None) -> float:
    size = method.size(scores.shape[0])
    if size == scores.shape[0]:
        return 0.0
    if not bool(jnp.all(jnp.isfinite(scores))):
        return math.nan
    energy = jnp.sum(jnp.square(scores)) if gram is None else jnp.sum(gram)
    variance = predicted_variance(method.sampler, scores, size, gram=gram)
    return float(jnp.sqrt(jnp.maximum(variance, 0) / energy))


def _edge_gram(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Inner products of the terms of single edges: `(taps, in, taps, in)`."""
    batch, channels = x.shape[0], x.shape[-1]
    taps = kernel[..., 0, 0].size
    at_once = max(1, _PATCH_BYTES_AT_ONCE // (4 * taps * channels * max(1, x[0, ..., 0].size)))
    total = jnp.zeros((channels * taps, channels * taps))
    for first in range(0, batch, at_once):
        patches = lax.conv_general_dilated_patches(
            x[first : first + at_once],
            geometry.window,
            geometry.strides,
            geometry.padding,
            rhs_dilation=geometry.dilation,
            dimension_numbers=channels_last(len(geometry.window)),
        )
        patches = patches.reshape(-1, channels * taps)  # the channel is the slower index
        total = total + _inner(patches, patches)
    by_tap = total.reshape(channels, taps, channels, taps).transpose(1, 0, 3, 2)
    rows = kernel.reshape(taps * channels, -1)
    return by_tap * _inner(rows.T, rows.T).reshape(by_tap.shape)


def _inner(a: jax.Array, b: jax.Array) -> jax.Array:
    """Inner products of the columns."""
    return jnp.matmul(a.T, b, precision=lax.Precision.HIGHEST)
