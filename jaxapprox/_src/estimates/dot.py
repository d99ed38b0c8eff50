"""Products of matrices as sums that can be sampled, whatever the axes that are contracted."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.checks import check_operands
from jaxapprox._src.estimates.contraction import Contraction, Estimated, estimate
from jaxapprox._src.estimates.conv_maps import Conv
from jaxapprox._src.estimates.geometry import WITHOUT_AXES
from jaxapprox._src.estimates.mc import MC, check_row_scores
from jaxapprox._src.wide import wider

Axes = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]


@dataclasses.dataclass(frozen=True)
class DenseProduct(Contraction):
    """x `(batch, in)` times kernel `(in, out)`.

    Attributes:
        precision: of the product, and of those of its gradients, as `lax.dot_general` takes it.
        dtype: of its output (`preferred_element_type`); None for that of its operands.
    """

    precision: Any = None
    dtype: Any = None

    def as_conv(self):
        return Conv(WITHOUT_AXES, self.precision, self.dtype)

    def forward(self, x, kernel):
        return jnp.matmul(x, kernel, precision=self.precision, preferred_element_type=self.dtype)

    def input_grad(self, g, kernel):
        return self._gradient(g, kernel.T).astype(kernel.dtype)

    def kernel_grad(self, x, g):
        return self._gradient(x.T, g).astype(x.dtype)

    def _gradient(self, a: jax.Array, b: jax.Array) -> jax.Array:
        wide = wider(a.dtype, b.dtype)  # they differ by `dtype`
        return jnp.matmul(a.astype(wide), b.astype(wide), precision=self.precision)


def dot(
    method: MC,
    key: jax.Array,
    scores: jax.Array | None,
    x: jax.Array,
    kernel: jax.Array,
    axes: Axes,
    precision: Any = None,
    dtype: Any = None,
) -> Estimated:
    """`lax.dot_general`, estimated by `method`: the rows are the entries of the contracted axes together.

    Args:
        method: how it is sampled.
        key: a PRNG key.
        scores: as for `contraction.estimate`; of the products along batch axes `(products, n)`.
        x, kernel: of one floating dtype.
        axes: as `lax.dot_general` takes them: `((x's contracted, kernel's), (x's batch axes, kernel's))`. All other
            axes of x together are the examples. Along batch axes each product is sampled by itself.
        precision, dtype: as for `DenseProduct`.

    Returns:
        Batch axes, then the other axes of x, then those of the kernel; and scores.

    Raises:
        ValueError: if an operand is not floating, nothing is contracted, or axes that are differ in size.
    """
    check_operands(x, kernel)
    (x_in, kernel_in), (x_batch, kernel_batch) = (tuple(map(tuple, pair)) for pair in axes)
    if not x_in:
        raise ValueError("dimension_numbers must contract an axis, got none: there is no sum to sample")
    contracted, expected = _sizes(x, x_in), _sizes(kernel, kernel_in)
    if contracted != expected or len({*x_in}) != len(x_in):
        raise ValueError(f"inputs must have {expected} along the axes {x_in} to be contracted, got shape {x.shape}")
    x_free = tuple(i for i in range(x.ndim) if i not in (*x_in, *x_batch))
    kernel_free = tuple(i for i in range(kernel.ndim) if i not in (*kernel_in, *kernel_batch))
    shape = _sizes(x, x_batch) + _sizes(x, x_free) + _sizes(kernel, kernel_free)
    x = _as_matrices(x, x_batch, x_free, x_in)
    kernel = _as_matrices(kernel, kernel_batch, kernel_in, kernel_free)
    product = functools.partial(estimate, DenseProduct(precision, dtype), method)
    if not x_batch:
        y, scores = product(key, scores, x[0], kernel[0])
    else:
        if scores is not None:
            check_row_scores(scores, x.shape[0], None)
        y, scores = jax.vmap(product)(jax.random.split(key, x.shape[0]), scores, x, kernel)
    return y.reshape(shape), scores


def _as_matrices(a: jax.Array, batch: tuple[int, ...], rows: tuple[int, ...], columns: tuple[int, ...]) -> jax.Array:
    """`a` as `(batch, rows, columns)`, each the product of the sizes of its axes."""
    sizes = (math.prod(_sizes(a, axes)) for axes in (batch, rows, columns))
    return lax.transpose(a, (*batch, *rows, *columns)).reshape(*sizes)


def _sizes(a: jax.Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a.shape[axis] for axis in axes)
