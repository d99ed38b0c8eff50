"""What the three kernels share: a call of Pallas, and a product of what a step has."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxapprox._src.estimates.fused.convolution import Fused
from jaxapprox._src.estimates.fused.tiles import Cost, Sizes


def sizes_of(fused: Fused, kinds: tuple[str, str, str], indices: Any, a: Any, b: Any, dtype: Any) -> Sizes:
    """The sizes of a kernel's call, of arrays or of their shapes.

    Args:
        fused: the convolution.
        kinds: what the first factor, the second and the result are like: "x" `(seeds, *in, examples, channels)`,
            "kernel" `(seeds, taps, channels, outputs)` or "y" `(seeds, *out, examples, outputs)`.
        indices: `(seeds, slots)`.
        a, b: the factors.
        dtype: of the result.
    """
    factors = dict(zip(kinds, (a, b), strict=False))
    geometry = fused.geometry
    inputs, positions, taps = (math.prod(n) for n in (geometry.in_shape, geometry.out_shape, geometry.window))
    return Sizes(
        seeds=a.shape[0],
        examples=a.shape[-2],
        channels=factors["x"].shape[-1] if "x" in factors else factors["kernel"].shape[-2],
        outputs=factors["y" if "y" in factors else "kernel"].shape[-1],
        block=fused.block,
        slots=indices.shape[-1],
        inputs=inputs,
        positions=positions,
        taps=taps,
        itemsize=a.dtype.itemsize,
        out_itemsize=jnp.dtype(dtype).itemsize,
    )


def call(
    fused: Fused,
    body: Callable[..., None],
    cost: Cost,
    sizes: Sizes,
    grid: Sequence[int],
    specs: Sequence[pl.BlockSpec],
    out_spec: pl.BlockSpec,
    scratch: Sequence[tuple[tuple[int, ...], Any]],
    out: jax.ShapeDtypeStruct,
    *operands: jax.Array,
) -> jax.Array:
    """Runs a kernel over a grid.

    Args:
        fused: the convolution.
        body: the kernel; its index maps and itself have the sample's indices and weights first.
        cost: of its tiles: what it may hold, and what it moves, for the accounts of XLA and of others.
        sizes: of the product.
        grid: its axes.
        specs, out_spec: of the two operands, and of the result.
        scratch: shapes and dtypes of what stays in VMEM from step to step.
        out: shape and dtype of the result.
        *operands: the sample's indices and weights, `(seeds, slots)` both, then the two operands.
    """
    operations = 2 * sizes.seeds * sizes.examples * sizes.kept * sizes.outputs
    met = sum(math.prod(int(axis.size) for axis in tap.outputs) for tap in fused.taps)
    return pl.pallas_call(
        body,
        out_shape=out,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=2,
            grid=tuple(grid),
            in_specs=list(specs),
            out_specs=out_spec,
            scratch_shapes=[pltpu.VMEM(shape, dtype) for shape, dtype in scratch],
        ),
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=cost.limit),
        cost_estimate=pl.CostEstimate(flops=operations * met, bytes_accessed=sum(cost.moved), transcendentals=0),
        metadata={"moved": " ".join(map(str, cost.moved))},
        interpret=fused.interpret,
    )(*operands)


def product(a: jax.Array, b: jax.Array, contracted: tuple[int, int], precision: Any) -> jax.Array:
    """The product of `a` `(..., rows, columns)`, all but the last axis as rows, and the matrix `b`, in float32."""
    a, b = (m.reshape(-1, m.shape[-1]) for m in (a, b))
    axes = (((contracted[0],), (contracted[1],)), ((), ()))
    return lax.dot_general(a, b, axes, precision=precision, preferred_element_type=jnp.float32)


def without_padding(a: jax.Array, axis: int, valid: Any) -> jax.Array:
    """`a` with zeros from `valid` on along an axis: beyond the array's end a tile has no values."""
    return jnp.where(lax.broadcasted_iota(jnp.int32, a.shape, axis % a.ndim) < valid, a, jnp.zeros_like(a))
