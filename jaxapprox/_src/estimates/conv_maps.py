"""The three bilinear maps behind a convolution, fast wherever they are called.

For an input x, a kernel w and an output cotangent g these are

    forward(x, w)      y[n, q, o]  = sum_{t, c} x[n, s q + d t - p, c] w[t, c, o]
    input_grad(g, w)   dx[n, i, c] = sum_{t, o} g[n, q, o] w[t, c, o]    over all (q, t) with s q + d t - p = i
    kernel_grad(x, g)  dw[t, c, o] = sum_{n, q} x[n, s q + d t - p, c] g[n, q, o]

with strides s, dilation d and low padding p. The transposes of each are the other two, so the set is closed under
differentiation of any order.

Why not `lax.conv_general_dilated` and its own gradient: on a CPU, XLA turns a *gradient* convolution into its fast form
only at the top level of a program, and `vmap` over kernels into a slow grouped convolution. Here every map is stated
as plain forward convolutions (a strided input gradient as one per output phase, a kernel gradient over blocks of
examples that fit the cache), and `vmap` over both operands runs them in turn. Accelerators get XLA's own forms.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.estimates import multilinear
from jaxapprox._src.estimates.geometry import Geometry, channels_last
from jaxapprox._src.varying import same_varying
from jaxapprox._src.wide import at_least_float32, wider

_KERNEL_GRAD_BLOCK_BYTES = 4 << 20  # measured best on 1 MB of second-level cache per core; flat within a factor of 2


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution, without its operands.

    Attributes:
        geometry: its window, strides, padding and dilation.
        precision: of its products, and of those of its gradients, as `lax.conv_general_dilated` takes it.
        dtype: of its output (`preferred_element_type`); None for that of its operands.
    """

    geometry: Geometry
    precision: Any = None
    dtype: Any = None


def forward(conv: Conv, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution: x `(batch, *spatial, in)`, kernel `(*window, in, out)` -> `(batch, *out_spatial, out)`."""
    return multilinear.apply(_Forward(conv), x, kernel)


def input_grad(conv: Conv, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Its transpose in x: g `(batch, *out_spatial, out)`, kernel `(*window, in, out)` -> `(batch, *spatial, in)`."""
    return _gradient(_InputGrad, conv, g, kernel).astype(kernel.dtype)


def kernel_grad(conv: Conv, x: jax.Array, g: jax.Array) -> jax.Array:
    """Its transpose in the kernel: x `(batch, *spatial, in)`, g `(batch, *out_spatial, out)` -> kernel's shape."""
    return _gradient(_KernelGrad, conv, x, g).astype(x.dtype)


def _gradient(kind: type["_ConvMap"], conv: Conv, a: jax.Array, b: jax.Array) -> jax.Array:
    wide = wider(a.dtype, b.dtype)  # they differ by `conv.dtype`
    return multilinear.apply(kind(dataclasses.replace(conv, dtype=None)), a.astype(wide), b.astype(wide))


@dataclasses.dataclass(frozen=True)
class _ConvMap(multilinear.Map):
    conv: Conv

    in_turn_on_cpu = True


class _Forward(_ConvMap):
    def __call__(self, x, kernel):
        return lax_conv(self.conv, x, kernel)

    def transpose(self, position, g, x, kernel):
        return input_grad(self.conv, g, kernel) if position == 0 else kernel_grad(self.conv, x, g)


class _InputGrad(_ConvMap):
    def __call__(self, g, kernel):
        if g.size == 0:  # XLA refuses empty windows
            return jnp.zeros((g.shape[0], *self.conv.geometry.in_shape, kernel.shape[-2]), g.dtype)
        by_phase, by_transpose = (functools.partial(f, self.conv) for f in (_by_phase, _input_grad_by_transpose))
        return lax.platform_dependent(g, kernel, cpu=by_phase, default=by_transpose)

    def transpose(self, position, t, g, kernel):
        return forward(self.conv, t, kernel) if position == 0 else kernel_grad(self.conv, t, g)


class _KernelGrad(_ConvMap):
    def __call__(self, x, g):
        if g.size == 0:
            return jnp.zeros((*self.conv.geometry.window, x.shape[-1], g.shape[-1]), x.dtype)
        by_block, by_transpose = (functools.partial(f, self.conv) for f in (_by_block, _kernel_grad_by_transpose))
        return lax.platform_dependent(x, g, cpu=by_block, default=by_transpose)

    def over_devices(self, x, g):  # blocks of examples would be sent from device to device
        return _kernel_grad_by_transpose(self.conv, x, g) if g.size else self(x, g)

    def transpose(self, position, t, x, g):
        return input_grad(self.conv, g, t) if position == 0 else forward(self.conv, x, t)


def flipped(kernel: jax.Array) -> jax.Array:
    """The kernel with its taps in reverse, and its channels swapped: once more gives it back."""
    return jnp.swapaxes(jnp.flip(kernel, range(kernel.ndim - 2)), -1, -2)


def lax_conv(conv: Conv, x: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """`lax.conv_general_dilated`, with the gradients that JAX gives it; kernel `(*window, in / groups, out)`."""
    geometry = conv.geometry
    strides, padding, dilation = geometry.strides, geometry.padding, geometry.dilation
    return _plain_conv(x, kernel, strides, padding, dilation, conv.precision, conv.dtype, groups)


def _plain_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    precision: Any,
    dtype: Any,
    groups: int = 1,
) -> jax.Array:
    if any(low * high < 0 for low, high in padding):  # wrong numbers on a CPU, before JAX 0.12
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)])
        padding = [(0, 0)] * len(padding)
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=channels_last(x.ndim - 2),
        feature_group_count=groups,
        precision=precision,
        preferred_element_type=dtype,
    )


def _input_grad_by_transpose(conv: Conv, g: jax.Array, kernel: jax.Array) -> jax.Array:
    x = jnp.zeros((g.shape[0], *conv.geometry.in_shape, kernel.shape[-2]), g.dtype)
    (dx,) = jax.linear_transpose(lambda x: lax_conv(conv, x, kernel), same_varying(x, g)[0])(g)
    return dx


def _kernel_grad_by_transpose(conv: Conv, x: jax.Array, g: jax.Array) -> jax.Array:
    kernel = jnp.zeros((*conv.geometry.window, x.shape[-1], g.shape[-1]), x.dtype)
    (dw,) = jax.linear_transpose(lambda kernel: lax_conv(conv, x, kernel), same_varying(kernel, g)[0])(g)
    return dw


def _by_phase(conv: Conv, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """One plain convolution for each residue of the input position modulo the strides, then interleaved.

    Input position i = s m + a meets the taps t with d t = a + p (mod s), at the outputs m + (a + p - d t) / s.
    """
    geometry, rank = conv.geometry, len(conv.geometry.window)
    sizes = [-(-n // s) for n, s in zip(geometry.in_shape, geometry.strides, strict=True)]
    flipped = jnp.swapaxes(kernel, -1, -2)
    phases = []
    for phase in itertools.product(*map(range, geometry.strides)):
        axes = [_phase_axis(geometry, axis, phase[axis], sizes[axis]) for axis in range(rank)]
        taps, padding, dilation = zip(*axes, strict=True)
        if all(taps):
            kept = flipped[tuple(_as_slice(t) for t in taps)]
            phases.append(_plain_conv(g, kept, (1,) * rank, padding, dilation, conv.precision, None))
        else:  # the window is narrower than the stride and never covers these inputs
            phases.append(jnp.zeros((g.shape[0], *sizes, kernel.shape[-2]), g.dtype))
    dx = _interleave(phases, geometry.strides)
    return dx[(slice(None), *map(slice, geometry.in_shape))]


def _phase_axis(geometry: Geometry, axis: int, phase: int, size: int) -> tuple[range, tuple[int, int], int]:
    """Taps (last first), padding and dilation along `axis` of the convolution that gives one phase of `dx`."""
    stride, dilation, taps = geometry.strides[axis], geometry.dilation[axis], geometry.window[axis]
    shift = phase + geometry.padding[axis][0]
    step = stride // math.gcd(stride, dilation)
    first = next((t for t in range(min(step, taps)) if (shift - t * dilation) % stride == 0), taps)
    used = range(first, taps, step)[::-1]
    if not used:
        return used, (0, 0), 1
    nearest, farthest = ((shift - t * dilation) // stride for t in (used[0], used[-1]))
    padding = (-nearest, size + farthest - geometry.out_shape[axis])
    return used, padding, dilation * step // stride


def _as_slice(taps: range) -> slice:
    """`taps`, a decreasing range of non-negative numbers, as a slice."""
    return slice(taps.start, taps.stop if taps.stop >= 0 else None, taps.step)


def _interleave(phases: list[jax.Array], strides: Sequence[int]) -> jax.Array:
    """Puts phase (a, b, ...) at the positions (a, b, ...) modulo `strides`; last axis first, each a plain copy."""
    for axis, stride in reversed(list(enumerate(strides, start=1))):
        if stride > 1:
            groups = [phases[i : i + stride] for i in range(0, len(phases), stride)]
            phases = [jnp.stack(group, axis + 1) for group in groups]
            phases = [p.reshape(*p.shape[:axis], -1, *p.shape[axis + 2 :]) for p in phases]
    return phases[0]


def _by_block(conv: Conv, x: jax.Array, g: jax.Array) -> jax.Array:
    """The kernel gradient summed over blocks of examples small enough to be transposed within the cache."""
    example_bytes = (math.prod(x.shape[1:]) + math.prod(g.shape[1:])) * x.dtype.itemsize
    block = 1 << max(0, (_KERNEL_GRAD_BLOCK_BYTES // max(1, example_bytes)).bit_length() - 1)
    whole, rest = divmod(x.shape[0], block)
    if whole + bool(rest) <= 1:
        return _kernel_grad_of_block(conv, x, g).astype(x.dtype)

    def add_block(total, i):
        slices = (lax.dynamic_slice_in_dim(a, i * block, block) for a in (x, g))
        return total + _kernel_grad_of_block(conv, *slices), None

    dtype = at_least_float32(x.dtype)
    total = jnp.zeros((*conv.geometry.window, x.shape[-1], g.shape[-1]), dtype)
    total, _ = lax.scan(add_block, same_varying(total, x)[0], jnp.arange(whole))
    if rest:
        total += _kernel_grad_of_block(conv, x[-rest:], g[-rest:])
    return total.astype(x.dtype)


def _kernel_grad_of_block(conv: Conv, x: jax.Array, g: jax.Array) -> jax.Array:
    """x as a batch of channels with the examples as features, convolved with g as the window."""
    geometry = conv.geometry
    axes = zip(geometry.extent, geometry.out_shape, geometry.strides, geometry.in_shape, geometry.padding, strict=True)
    padding = [(lo, e + (m - 1) * s - n - lo) for e, m, s, n, (lo, _) in axes]
    dw = _plain_conv(
        jnp.swapaxes(x, 0, -1),
        jnp.moveaxis(g, 0, -2),
        geometry.dilation,
        padding,
        geometry.strides,
        conv.precision,
        at_least_float32(x.dtype),
    )
    return jnp.moveaxis(dw, 0, -2)
