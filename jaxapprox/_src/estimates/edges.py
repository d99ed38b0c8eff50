"""Sampling single edges of the patch, (tap, channel) pairs: the n' = v v C rows of the paper's Appendix B.

Every output position of a convolution is a product of its patch, `taps * in` edges wide, with the kernel as a matrix.
Here a sample of those edges is gathered, for all positions at once, and multiplied by the same rows of the kernel.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.estimates.conv_maps import flipped
from jaxapprox._src.estimates.geometry import Geometry
from jaxapprox._src.estimates.mc import Rows
from jaxapprox._src.estimates.slices import energies, take_weighted


def edge_scores(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The score of each edge, |column of the patch matrix| |row of the kernel|: `(taps * in,)`, float32 or wider."""
    energy = jnp.sum(energies(_padded(geometry, x)), 0)
    per_tap = [
        jnp.sum(lax.slice(energy, (*first, 0), (*last, x.shape[-1]), (*geometry.strides, 1)), range(energy.ndim - 1))
        for first, last in _tap_slices(geometry)
    ]
    rows = energies(kernel.reshape(-1, kernel.shape[-1]))
    return jnp.sqrt(jnp.concatenate(per_tap) * jnp.sum(rows, -1))


def edge_product(
    geometry: Geometry, x: jax.Array, kernel: jax.Array, rows: Rows, precision: Any = None, dtype: Any = None
) -> jax.Array:
    """The convolution over the sampled edges alone: a `(positions, slots) @ (slots, out)` product.

    Gradients flow through those edges only. `precision` and `dtype` are as in `conv_maps.Conv`.
    """
    taps, channels = jnp.divmod(rows.indices, x.shape[-1])
    window = jnp.asarray([first for first, _ in _tap_slices(geometry)], jnp.int32)[taps]
    edges = _gather(geometry, _padded(geometry, x), channels, window)
    weights = take_weighted(kernel.reshape(-1, kernel.shape[-1]), rows, 0)
    out = jnp.einsum("kp,ko->po", edges, weights, precision=precision, preferred_element_type=dtype)
    return out.reshape(x.shape[0], *geometry.out_shape, kernel.shape[-1])


def _gather(geometry: Geometry, padded: jax.Array, channels: jax.Array, window: jax.Array) -> jax.Array:
    """The inputs that each edge meets at every position, by copies of whole rows: `(slots, batch * positions)`."""
    planes = jnp.moveaxis(padded, -1, 0)
    spans = tuple((m - 1) * s + 1 for m, s in zip(geometry.out_shape, geometry.strides, strict=True))
    subsample = (slice(None), *(slice(None, None, s) for s in geometry.strides))

    def one(planes, channel, start):
        starts = (channel, jnp.zeros_like(channel), *start)
        return lax.dynamic_slice(planes, starts, (1, planes.shape[1], *spans))[0][subsample].reshape(-1)

    def in_turn(planes, channels, window):
        return lax.map(lambda edge: one(planes, *edge), (channels, window))

    def at_once(planes, channels, window):
        return jax.vmap(one, in_axes=(None, 0, 0))(planes, channels, window)

    return lax.platform_dependent(planes, channels, window, cpu=in_turn, default=at_once)


def _padded(geometry: Geometry, x: jax.Array) -> jax.Array:
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((lo, hi, 0) for lo, hi in geometry.padding), (0, 0, 0)))


def _tap_slices(geometry: Geometry) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """First and last-plus-one padded position that each tap meets along each axis."""
    slices = []
    for tap in itertools.product(*map(range, geometry.window)):
        first = tuple(t * d for t, d in zip(tap, geometry.dilation, strict=True))
        last = tuple(f + (m - 1) * s + 1 for f, m, s in zip(first, geometry.out_shape, geometry.strides, strict=True))
        slices.append((first, last))
    return slices


def transposed(geometry: Geometry, g: jax.Array, kernel: jax.Array) -> tuple[Geometry, jax.Array, jax.Array]:
    """The input gradient as a convolution: its geometry, its input (g with zeros in between) and the flipped kernel."""
    spread = [(0, 0, 0), *((0, 0, s - 1) for s in geometry.strides), (0, 0, 0)]
    g = lax.pad(g, jnp.zeros((), g.dtype), spread)
    axes = zip(geometry.extent, geometry.padding, geometry.in_shape, g.shape[1:-1], strict=True)
    padding = tuple((e - 1 - lo, n + lo - m) for e, (lo, _), n, m in axes)
    ones = (1,) * len(geometry.window)
    return Geometry(geometry.window, ones, padding, geometry.dilation, g.shape[1:-1]), g, flipped(kernel)
