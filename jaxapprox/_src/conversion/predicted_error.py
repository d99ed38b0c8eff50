"""How far apart theory says that a layer's product and its estimate are."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.conversion.approximation import ProductApproximation
from jaxapprox._src.conversion.groups import groups_of
from jaxapprox._src.conversion.layer_products import Product, approximate, exact
from jaxapprox._src.estimates import blocks
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.estimates.slices import energies, norms
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.sampling.second_moments import Moments, second_moments_of
from jaxapprox._src.sampling.variance import predicted_variance
from jaxapprox._src.wide import at_least_float32

_BYTES_AT_ONCE = 64 << 20
_MOST_ROWS = 8192  # of a sampler that states a matrix: a matrix of so many rows has 256 MiB


def relative_error(
    product: Product, method: ProductApproximation, key: jax.Array, tables: Any, lhs: jax.Array, rhs: jax.Array
) -> float:
    r"""The relative error \sqrt{E |\hat y - y|^2 / |y|^2} of one call without the bias, over all examples together.

    For `MC` it is predicted from the second moments that the sampler states (for the sampler `systematic`
    approximately): in mode "backward" for the gradient that is off by more, in mode "kernel" for the kernel's, the
    cotangent's entries taken as independent. For `ALSH`, of which no theory says it, and for complex operands it is
    measured on one draw. NaN where y is 0 or an operand is not finite, and for the gradients of complex operands.

    Raises:
        ValueError: if the sampler states no second moments, or as a matrix for more than 8,192 rows.
    """
    if isinstance(method, ALSH) or jnp.iscomplexobj(lhs):
        if isinstance(method, MC) and method.mode in ("backward", "kernel"):
            return math.nan
        estimate, y = approximate(product, method, key, tables, lhs, rhs), exact(product, lhs, rhs)
        off = estimate.astype(at_least_float32(y.dtype)) - y.astype(at_least_float32(y.dtype))
        return _ratio(jnp.sum(energies(off)), jnp.sum(energies(y)))
    group, x, kernel = groups_of(product, lhs, rhs)
    if method.mode not in ("backward", "kernel"):
        return _ratio(*_forward(group, method, x, kernel))
    examples = jnp.sqrt(jnp.sum(jnp.square(x), range(2, x.ndim)))
    of_kernel = _ratio(*_orthogonal(method, examples))
    if method.mode == "kernel":
        return of_kernel
    by_tap = jnp.sqrt(jnp.sum(jnp.square(kernel), -2))  # (groups, *window, out)
    outputs = by_tap if method.unit == "edge" else jnp.sqrt(jnp.sum(jnp.square(by_tap), range(1, by_tap.ndim - 1)))
    rows = blocks.scores(outputs.reshape(x.shape[0], -1), method.block(kernel.shape[-1]))
    return max(_ratio(*_orthogonal(method, rows)), of_kernel)


def _ratio(squared_error: jax.Array, energy: jax.Array) -> float:
    """The root of their quotient, or NaN."""
    if not 0 < float(energy) < math.inf:
        return math.nan
    return math.sqrt(max(float(squared_error), 0) / float(energy))


@functools.partial(jax.jit, static_argnums=0)
def _orthogonal(method: MC, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The expected squared error and the energy of sums of orthogonal terms, of norms `scores` `(groups, n)`."""
    size = method.size(scores.shape[1])
    energy = jnp.sum(jnp.square(scores))
    if size == scores.shape[1]:
        return jnp.zeros_like(energy), energy
    return jnp.sum(lax.map(lambda scores: predicted_variance(method.sampler, scores, size), scores)), energy


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward(product: Product, method: MC, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The expected squared error and the energy of a product in groups, `Groups.x` and `Groups.kernel`."""
    block = method.block(kernel.shape[-2])
    rows = kernel.shape[1:-1] if method.unit == "edge" else (kernel.shape[-2] // block,)
    size = method.size(math.prod(rows))

    def one(operands):
        x, kernel = operands
        energy = jnp.sum(jnp.square(exact(product, x, kernel)))
        if size == math.prod(rows):
            return jnp.zeros_like(energy), energy
        scores, squared_norms = _terms(product, method, x, kernel)
        moments = second_moments_of(method.sampler, scores, size)
        if isinstance(moments, Moments):
            window = (1,) * (kernel.ndim - 1 - len(rows))
            vector = jnp.repeat(moments.vector, block).reshape(*window, *rows[:-1], -1, 1)
            together = exact(product, x, kernel * vector)
            variance = jnp.sum(moments.diagonal * squared_norms) + moments.sign * jnp.sum(jnp.square(together))
        else:
            variance = jnp.sum(moments * _gram(product, method, x, kernel))
        return variance, energy

    return jax.tree.map(jnp.sum, lax.map(one, (x, kernel)))


def _terms(product: Product, method: MC, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The scores of the terms that y is a sum of, and their squared norms, both `(n,)`."""
    if method.unit == "edge":
        energy = jnp.sum(jnp.square(x), 0, keepdims=True)
        kernel_of_one = kernel[..., :1]
        columns = jax.linear_transpose(functools.partial(exact, product, energy), kernel_of_one)
        ones = jnp.ones_like(exact(product, energy, kernel_of_one))
        squared = (columns(ones)[0][..., 0] * jnp.sum(jnp.square(kernel), -1)).reshape(-1)
        return jnp.sqrt(squared), squared
    scores = norms(x, -1) * norms(kernel, -2)
    block = method.block(kernel.shape[-2])
    if block > 1:

        def squared_norm_of_block(first):
            of_x = lax.dynamic_slice_in_dim(x, first, block, x.ndim - 1)
            of_kernel = lax.dynamic_slice_in_dim(kernel, first, block, kernel.ndim - 2)
            return jnp.sum(jnp.square(exact(product, of_x, of_kernel)))

        return blocks.scores(scores, block), lax.map(squared_norm_of_block, jnp.arange(0, kernel.shape[-2], block))
    if kernel.ndim == 2:
        return scores, jnp.square(scores)
    # A channel's term has the norm that it has by any kernel with the same inner products of its taps: the narrowest.
    of_channel = jnp.moveaxis(kernel, -2, 0).reshape(kernel.shape[-2], -1, kernel.shape[-1])
    narrow = jnp.swapaxes(jnp.linalg.qr(jnp.swapaxes(of_channel, 1, 2), mode="r"), 1, 2)
    narrow = narrow.reshape(-1, *kernel.shape[:-2], 1, narrow.shape[-1])

    def squared_norm(operands):
        channel, taps = operands
        return jnp.sum(jnp.square(exact(product, channel[..., None], taps)))

    return scores, lax.map(squared_norm, (jnp.moveaxis(x, -1, 0), narrow))


def _gram(product: Product, method: MC, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Inner products of the terms: `(n, n)`."""
    inputs, edges = kernel.shape[-2], math.prod(kernel.shape[:-1])
    if edges > _MOST_ROWS:
        raise ValueError(
            f"sampler must state its second moments as jaxapprox.Moments where a sum has more than {_MOST_ROWS} rows,"
            f" got a matrix for {edges}"
        )
    identity = jnp.eye(edges).reshape(*kernel.shape[:-1], edges)
    positions = exact(product, x[:1], kernel[..., :1]).size
    block = max(1, _BYTES_AT_ONCE // (4 * edges * max(1, positions)))
    blocks = -(-x.shape[0] // block)
    x = jnp.pad(x, ((0, blocks * block - x.shape[0]), *((0, 0),) * (x.ndim - 1)))

    def add(total, x):
        patches = exact(product, x, identity).reshape(-1, edges)
        return total + _inner(patches), None

    total, _ = lax.scan(add, jnp.zeros((edges, edges)), x.reshape(blocks, block, *x.shape[1:]))
    gram = total * _inner(kernel.reshape(edges, -1).T)
    if method.unit == "edge":
        return gram
    rows, block = inputs // method.block(inputs), method.block(inputs)
    by_channel = gram.reshape(edges // inputs, rows, block, edges // inputs, rows, block)
    return jnp.sum(by_channel, (0, 2, 3, 5))


def _inner(a: jax.Array) -> jax.Array:
    """Inner products of the columns."""
    return jnp.matmul(a.T, a, precision=lax.Precision.HIGHEST)
