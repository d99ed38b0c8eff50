"""The sampled slices of an operand, and their gradient: zero in the slices that were not drawn."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.estimates import multilinear
from jaxapprox._src.estimates.mc import Rows
from jaxapprox._src.wide import at_least_float32, wider

_FEW_CHANNELS = 512


def norms(a: jax.Array, axis: int) -> jax.Array:
    """Euclidean norms of the slices of `a` along `axis`, in float32 or wider: `(a.shape[axis],)`."""
    others = tuple(i for i in range(a.ndim) if i != axis % a.ndim)
    return jnp.sqrt(jnp.sum(energies(a), others))


def energies(a: jax.Array) -> jax.Array:
    """The squares of the entries, or of their magnitudes, in float32 or wider. No gradient flows through them."""
    wide = lax.stop_gradient(a).astype(at_least_float32(a.dtype))
    return jnp.real(wide * jnp.conj(wide)) if jnp.iscomplexobj(wide) else jnp.square(wide)


def in_blocks(a: jax.Array, axis: int, size: int) -> jax.Array:
    """`a` with an axis as two, its blocks and what is in them; a block of one channel is the channel."""
    axis %= a.ndim
    return a if size == 1 else a.reshape(*a.shape[:axis], a.shape[axis] // size, size, *a.shape[axis + 1 :])


def take_channels(x: jax.Array, rows: Rows) -> jax.Array:
    """The sampled slices of the last axis, at their own values; the gradient is zero elsewhere.

    Of few channels, on a CPU this multiplies by a selection matrix, which is exact; a NaN or infinity in a channel that
    was not drawn then shows as NaN. The matrix grows as the square of the channels, a gather does not.
    """
    if x.shape[-1] > _FEW_CHANNELS:
        return take_slices(x, rows, -1)
    return multilinear.apply(_TakeChannels(), rows.indices, rows.slot_of, x)


def take_slices(a: jax.Array, rows: Rows, axis: int) -> jax.Array:
    """The sampled slices of `a` along `axis`; the gradient is zero elsewhere."""
    return multilinear.apply(_TakeSlices(axis % a.ndim), rows.indices, rows.slot_of, a)


def put_slices(a: jax.Array, rows: Rows, axis: int) -> jax.Array:
    """The transpose of `take_slices`: the slices in their places, and zeros elsewhere."""
    return multilinear.apply(_PutSlices(axis % a.ndim), rows.indices, rows.slot_of, a)


def weighted(a: jax.Array, rows: Rows, axis: int) -> jax.Array:
    """Slices of `a` along `axis`, each times its weight, in the dtype of `a`."""
    shape = tuple(-1 if i == axis % a.ndim else 1 for i in range(a.ndim))
    wide = wider(a.dtype, rows.weights.dtype)
    return (a.astype(wide) * rows.weights.astype(wide).reshape(shape)).astype(a.dtype)


def take_weighted(a: jax.Array, rows: Rows, axis: int) -> jax.Array:
    """The sampled slices of `a` along `axis`, each times its weight, in the dtype of `a`."""
    return weighted(take_slices(a, rows, axis), rows, axis)


class _OfRows(multilinear.Map):
    """A map of an array, given the `indices` and `slot_of` of a sample of its slices.

    A repeated index is an unused slot, of weight 0: nothing is lost where only one of them is written.
    """

    extras = 2


@dataclasses.dataclass(frozen=True)
class _TakeChannels(_OfRows):
    def __call__(self, indices, slot_of, x):
        return lax.platform_dependent(
            x,
            indices,
            cpu=lambda x, indices: x @ _selection(indices, x.shape[-1], x.dtype),
            default=lambda x, indices: jnp.take(x, indices, axis=-1, mode="clip"),
        )

    def transpose(self, position, g, indices, slot_of, x):
        return multilinear.apply(_PutChannels(), indices, slot_of, g)


@dataclasses.dataclass(frozen=True)
class _PutChannels(_OfRows):
    def __call__(self, indices, slot_of, g):
        return lax.platform_dependent(
            g,
            slot_of,
            cpu=lambda g, slot_of: g @ _selection(slot_of, g.shape[-1], g.dtype),
            default=lambda g, slot_of: jnp.take(g, slot_of, axis=-1, mode="fill", fill_value=0),
        )

    def transpose(self, position, t, indices, slot_of, g):
        return multilinear.apply(_TakeChannels(), indices, slot_of, t)


@dataclasses.dataclass(frozen=True)
class _TakeSlices(_OfRows):
    axis: int

    def __call__(self, indices, slot_of, a):
        return jnp.take(a, indices, axis=self.axis, mode="clip")

    def transpose(self, position, g, indices, slot_of, a):
        return multilinear.apply(_PutSlices(self.axis), indices, slot_of, g)


@dataclasses.dataclass(frozen=True)
class _PutSlices(_OfRows):
    axis: int

    def __call__(self, indices, slot_of, g):
        return jnp.take(g, slot_of, axis=self.axis, mode="fill", fill_value=0)

    def transpose(self, position, t, indices, slot_of, g):
        return multilinear.apply(_TakeSlices(self.axis), indices, slot_of, t)


def _selection(indices: jax.Array, n: int, dtype: jnp.dtype) -> jax.Array:
    """`(n, len(indices))` with a one at (indices[j], j): `a @ selection` picks columns of `a`."""
    return (jnp.arange(n)[:, None] == indices[None, :]).astype(dtype)
