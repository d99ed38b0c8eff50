"""The three bilinear maps behind a convolution, fast wherever they are called.

For an input x, a kernel w and an output cotangent g these are

    forward(x, w)      y[n, q, o]  = sum_{t, c} x[n, s q + d t - p, c] w[t, c, o]
    input_grad(g, w)   dx[n, i, c] = sum_{t, o} g[n, q, o] w[t, c, o]    over all (q, t) with s q + d t - p = i
    kernel_grad(x, g)  dw[t, c, o] = sum_{n, q} x[n, s q + d t - p, c] g[n, q, o]

with strides s, dilation d and low padding p. The derivatives of each are the other two, so the set is closed under
reverse-mode differentiation of any order.

Why not `lax.conv_general_dilated` and its own gradient: on a CPU, XLA turns a *gradient* convolution into its fast form
only at the top level of a program, and `vmap` over kernels into a slow grouped convolution. Here every map is stated
as plain forward convolutions (a strided input gradient as one per output phase, a kernel gradient over blocks of
examples that fit the cache), and `vmap` over both operands runs them in turn. Accelerators get XLA's own forms.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from jaxapprox._src.estimates.geometry import Geometry, dimension_numbers

_Map = Callable[[jax.Array, jax.Array], jax.Array]
_KERNEL_GRAD_BLOCK_BYTES = 4 << 20  # measured best on 1 MB of second-level cache per core; flat within a factor of 2


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def forward(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution: x `(batch, *spatial, in)`, kernel `(*window, in, out)` -> `(batch, *out_spatial, out)`."""
    return _in_turn_on_cpu(functools.partial(lax_conv, geometry), functools.partial(lax_conv, geometry))(x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def input_grad(geometry: Geometry, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Its transpose in x: g `(batch, *out_spatial, out)`, kernel `(*window, in, out)` -> `(batch, *spatial, in)`."""
    if g.size == 0:  # XLA refuses empty windows
        return jnp.zeros((g.shape[0], *geometry.in_shape, kernel.shape[-2]), g.dtype)
    return _in_turn_on_cpu(
        functools.partial(_input_grad_by_phase, geometry), functools.partial(_input_grad_by_transpose, geometry)
    )(g, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def kernel_grad(geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    """Its transpose in the kernel: x `(batch, *spatial, in)`, g `(batch, *out_spatial, out)` -> kernel's shape."""
    if g.size == 0:
        return jnp.zeros((*geometry.window, x.shape[-1], g.shape[-1]), x.dtype)
    return _in_turn_on_cpu(
        functools.partial(_kernel_grad_by_block, geometry), functools.partial(_kernel_grad_by_transpose, geometry)
    )(x, g)


def _keep_both(function):
    return lambda geometry, a, b: (function(geometry, a, b), (a, b))


forward.defvjp(
    _keep_both(forward),
    lambda geometry, xw, g: (input_grad(geometry, g, xw[1]), kernel_grad(geometry, xw[0], g)),
)
input_grad.defvjp(
    _keep_both(input_grad),
    lambda geometry, gw, t: (forward(geometry, t, gw[1]), kernel_grad(geometry, t, gw[0])),
)
kernel_grad.defvjp(
    _keep_both(kernel_grad),
    lambda geometry, xg, t: (input_grad(geometry, xg[1], t), forward(geometry, xg[0], t)),
)


def _in_turn_on_cpu(cpu: _Map, accelerator: _Map) -> _Map:
    """`cpu` or `accelerator` by platform; `vmap` over both operands runs the former in turn."""

    def by_platform(a, b):
        return lax.platform_dependent(a, b, cpu=cpu, default=accelerator)

    @custom_vmap
    def mapped(a, b):
        return by_platform(a, b)

    @mapped.def_vmap
    def rule(axis_size, batched, a, b):
        if all(batched):
            in_turn = functools.partial(lax.map, lambda ab: mapped(*ab))
            out = lax.platform_dependent(
                a, b, cpu=lambda a, b: in_turn((a, b)), default=lambda a, b: jax.vmap(accelerator)(a, b)
            )
        else:  # one shared operand: XLA folds the mapped axis into a batch or channel axis
            out = jax.vmap(by_platform, in_axes=tuple(0 if is_batched else None for is_batched in batched))(a, b)
        return out, True

    return mapped


def lax_conv(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`lax.conv_general_dilated`, with the gradients that JAX gives it."""
    return _plain_conv(x, kernel, geometry.strides, geometry.padding, geometry.dilation)


def _plain_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    preferred_element_type=None,
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=dimension_numbers(x.ndim - 2),
        preferred_element_type=preferred_element_type,
    )


def _input_grad_by_transpose(geometry: Geometry, g: jax.Array, kernel: jax.Array) -> jax.Array:
    x = jax.ShapeDtypeStruct((g.shape[0], *geometry.in_shape, kernel.shape[-2]), g.dtype)
    (dx,) = jax.linear_transpose(lambda x: lax_conv(geometry, x, kernel), x)(g)
    return dx


def _kernel_grad_by_transpose(geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    kernel = jax.ShapeDtypeStruct((*geometry.window, x.shape[-1], g.shape[-1]), x.dtype)
    (dw,) = jax.linear_transpose(lambda kernel: lax_conv(geometry, x, kernel), kernel)(g)
    return dw


def _input_grad_by_phase(geometry: Geometry, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """One plain convolution for each residue of the input position modulo the strides, then interleaved.

    Input position i = s m + a meets the taps t with d t = a + p (mod s), at the outputs m + (a + p - d t) / s.
    """
    rank = len(geometry.window)
    sizes = [-(-n // s) for n, s in zip(geometry.in_shape, geometry.strides, strict=True)]
    flipped = jnp.swapaxes(kernel, -1, -2)
    phases = []
    for phase in itertools.product(*map(range, geometry.strides)):
        axes = [_phase_axis(geometry, axis, phase[axis], sizes[axis]) for axis in range(rank)]
        taps, padding, dilation = zip(*axes, strict=True)
        if all(taps):
            phases.append(_plain_conv(g, flipped[tuple(_as_slice(t) for t in taps)], (1,) * rank, padding, dilation))
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


def _kernel_grad_by_block(geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    """The kernel gradient summed over blocks of examples small enough to be transposed within the cache."""
    example_bytes = (math.prod(x.shape[1:]) + math.prod(g.shape[1:])) * x.dtype.itemsize
    block = 1 << max(0, (_KERNEL_GRAD_BLOCK_BYTES // max(1, example_bytes)).bit_length() - 1)
    whole, rest = divmod(x.shape[0], block)
    if whole + bool(rest) <= 1:
        return _kernel_grad_of_block(geometry, x, g).astype(x.dtype)

    def add_block(total, i):
        slices = (lax.dynamic_slice_in_dim(a, i * block, block) for a in (x, g))
        return total + _kernel_grad_of_block(geometry, *slices), None

    dtype = jnp.promote_types(x.dtype, jnp.float32)
    total = jnp.zeros((*geometry.window, x.shape[-1], g.shape[-1]), dtype)
    total, _ = lax.scan(add_block, total, jnp.arange(whole))
    if rest:
        total += _kernel_grad_of_block(geometry, x[-rest:], g[-rest:])
    return total.astype(x.dtype)


def _kernel_grad_of_block(geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    """x as a batch of channels with the examples as features, convolved with g as the window."""
    axes = zip(geometry.extent, geometry.out_shape, geometry.strides, geometry.in_shape, geometry.padding, strict=True)
    padding = [(lo, e + (m - 1) * s - n - lo) for e, m, s, n, (lo, _) in axes]
    dw = _plain_conv(
        jnp.swapaxes(x, 0, -1),
        jnp.moveaxis(g, 0, -2),
        geometry.dilation,
        padding,
        geometry.strides,
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )
    return jnp.moveaxis(dw, 0, -2)
