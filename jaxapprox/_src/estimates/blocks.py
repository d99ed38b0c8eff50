"""Sums over sampled blocks of neighbouring channels, and their gradients: zero in the blocks that were not drawn.

Each has two forms, by XLA from copies of the blocks, and by a kernel that reads them where they are.
"""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxapprox._src.estimates import multilinear, slices
from jaxapprox._src.estimates.bilinear import Bilinear
from jaxapprox._src.estimates.fused.platforms import PLATFORMS, Platform
from jaxapprox._src.estimates.mc import Rows
from jaxapprox._src.wide import wider


def scores(of_channels: jax.Array, block: int) -> jax.Array:
    """The scores of blocks from those of their channels: the roots of their energies, `(..., channels / block)`."""
    if block == 1:
        return of_channels
    return jnp.sqrt(jnp.sum(jnp.square(slices.in_blocks(of_channels, -1, block)), -1))


def take(a: jax.Array, rows: Rows, axis: int, block: int) -> jax.Array:
    """The sampled blocks of `a` along `axis`, one after another; the gradient is zero elsewhere."""
    axis %= a.ndim
    return _joined(slices.take_slices(slices.in_blocks(a, axis, block), rows, axis), axis, block)


def take_weighted(a: jax.Array, rows: Rows, axis: int, block: int) -> jax.Array:
    """The sampled blocks of `a` along `axis`, each times its weight, in the dtype of `a`."""
    axis %= a.ndim
    return _joined(slices.take_weighted(slices.in_blocks(a, axis, block), rows, axis), axis, block)


def put(a: jax.Array, rows: Rows, axis: int, block: int) -> jax.Array:
    """The transpose of `take`: the blocks in their places, and zeros elsewhere."""
    axis %= a.ndim
    return _joined(slices.put_slices(slices.in_blocks(a, axis, block), rows, axis), axis, block)


def _joined(a: jax.Array, axis: int, block: int) -> jax.Array:
    return a if block == 1 else a.reshape(*a.shape[:axis], a.shape[axis] * block, *a.shape[axis + 2 :])


def estimate(
    product: Bilinear, block: int, implementation: str | None, rows: Rows, x: jax.Array, kernel: jax.Array
) -> jax.Array:
    """`product.forward` from the sampled blocks of input channels; gradients are zero in the others.

    Args:
        product: of which blocks are sampled.
        block: channels of a block.
        implementation: "xla", or "pallas" for kernels; None for what suits the platform and the sizes.
        rows: the blocks.
        x, kernel: as for `product.forward`.

    Raises:
        ValueError: if there are to be kernels, and no platform's can be.
    """
    if implementation == "pallas":
        y = jax.eval_shape(product.forward, x, kernel)
        parts = ((_Sum, y, x, kernel), (_InputGrad, x, y, kernel), (_KernelGrad, kernel, x, y))
        refusals: dict[str, list[str]] = {}
        for platform in PLATFORMS.values():
            every = (
                kind(product, block, None).refusal(platform, of.dtype, rows.indices, *ab) for kind, of, *ab in parts
            )
            refusals.setdefault(next(filter(None, every), ""), []).append(platform.devices)
        if "" not in refusals:
            why = ", ".join(f"{reason} (on {' and '.join(devices)})" for reason, devices in refusals.items())
            raise ValueError(f'implementation must be "xla" or None {why}, got "pallas"')
    return multilinear.apply(_Sum(product, block, implementation), *rows, x, kernel)


@dataclasses.dataclass(frozen=True)
class _OfBlocks(multilinear.Map):
    """A map of the parts of `Rows` and of two factors."""

    product: Bilinear
    block: int
    implementation: str | None

    extras = 3
    kernel: ClassVar[str]  # its name in `fused.platforms`

    def on_platform(self, platform):
        kernels, forced = PLATFORMS.get(platform), self.implementation == "pallas"
        if forced and kernels is None:
            every = " and ".join(known.devices for known in PLATFORMS.values())
            raise ValueError(f'implementation must be "xla" or None on a {platform}, got "pallas": it is for {every}')
        if kernels is not None and (forced or (self.implementation is None and kernels.by_default)):
            return functools.partial(self._by_kernel, kernels)
        return self

    def refusal(self, platform: Platform, dtype: Any, indices: Any, a: Any, b: Any) -> str:
        """Why the kernel can't be used for a result of this dtype, or an empty string; operands may be shapes."""
        return platform.refusal(self.kernel, self.product.as_conv(), self.block, dtype, indices, a, b)

    def _by_kernel(self, platform: Platform, indices, weights, slot_of, a, b):
        out = jax.eval_shape(self, indices, weights, slot_of, a, b)
        wide = wider(a.dtype, b.dtype)  # they differ by the product's `dtype`
        a, b = a.astype(wide), b.astype(wide)
        why = self.refusal(platform, out.dtype, indices, a, b)
        if why and self.implementation == "pallas":
            raise ValueError(f'implementation must be "xla" or None on {platform.devices} {why}, got "pallas"')
        if why:
            return self(indices, weights, slot_of, a, b)
        rows = Rows(indices, weights, slot_of)
        return platform.run(self.kernel, self.product.as_conv(), self.block, out.dtype, rows, a, b)

    def _as(self, kind: "type[_OfBlocks]", *operands: jax.Array) -> jax.Array:
        return multilinear.apply(kind(self.product, self.block, self.implementation), *operands)


class _Sum(_OfBlocks):
    kernel = "FORWARD"

    def __call__(self, indices, weights, slot_of, x, kernel):
        rows = Rows(indices, weights, slot_of)
        return self.product.forward(take(x, rows, -1, self.block), take_weighted(kernel, rows, -2, self.block))

    def transpose(self, position, g, indices, weights, slot_of, x, kernel):
        rows = Rows(indices, weights, slot_of)
        return self._as(_InputGrad, *rows, g, kernel) if x is None else self._as(_KernelGrad, *rows, x, g)


class _InputGrad(_OfBlocks):
    kernel = "INPUT_GRAD"

    def __call__(self, indices, weights, slot_of, g, kernel):
        rows = Rows(indices, weights, slot_of)
        return put(self.product.input_grad(g, take_weighted(kernel, rows, -2, self.block)), rows, -1, self.block)

    def transpose(self, position, t, indices, weights, slot_of, g, kernel):
        rows = Rows(indices, weights, slot_of)
        return self._as(_Sum, *rows, t, kernel) if g is None else self._as(_KernelGrad, *rows, t, g)


class _KernelGrad(_OfBlocks):
    kernel = "KERNEL_GRAD"

    def __call__(self, indices, weights, slot_of, x, g):
        rows = Rows(indices, weights, slot_of)
        of_kept = self.product.kernel_grad(take(x, rows, -1, self.block), g)
        axis = of_kept.ndim - 2
        of_kept = slices.in_blocks(of_kept, axis, self.block)
        return _joined(slices.put_slices(slices.weighted(of_kept, rows, axis), rows, axis), axis, self.block)

    def transpose(self, position, t, indices, weights, slot_of, x, g):
        rows = Rows(indices, weights, slot_of)
        return self._as(_InputGrad, *rows, g, t) if x is None else self._as(_Sum, *rows, x, t)
