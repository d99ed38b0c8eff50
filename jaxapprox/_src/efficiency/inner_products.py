"""Inner products of the gradients of batches, exact and sampled."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxapprox._src.efficiency.moments import Products
from jaxapprox._src.row_blocks import over_blocks, take_block


class ExactGradient(Protocol):
    """A gradient of the loss of a batch: parameters and the batch -> a tree like the parameters."""

    def __call__(self, params: Any, batch: Any) -> Any: ...


class SampledGradient(Protocol):
    """An estimate of it: a key, parameters and the batch -> a tree like the parameters."""

    def __call__(self, key: jax.Array, params: Any, batch: Any) -> Any: ...


class Measured(NamedTuple):
    """Inner products leaf by leaf, and the seconds that they took, compiling aside."""

    leaves: list[Products]
    seconds: float


def inner_products(
    exact: ExactGradient, sampled: SampledGradient, key: jax.Array, params: Any, batches: Any
) -> Measured:
    """From batches `(groups, batches, examples, ...)`, each by its own calls: a loop in a program is slow on a CPU."""
    groups, number = jax.tree.leaves(batches)[0].shape[:2]
    keys = jax.random.split(key, (groups, number, 2))

    def gradient_of(params, batches, *at):
        return _leaves("exact", params, exact(params, _at(batches, *at)))

    def draw_of(keys, params, batches, group, i, which):
        return _leaves("sampled", params, sampled(keys[group, i, which], params, _at(batches, group, i)))

    leaves = [jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for leaf in jax.tree.leaves(params)]
    at = np.zeros(3, np.int32)
    gradient = _compiled(gradient_of, params, batches, *at[:2])
    draw = _compiled(draw_of, keys, params, batches, *at)
    zeros = _compiled(lambda: tuple([jnp.zeros(leaf.shape) for leaf in leaves] for _ in range(2)))
    add = _compiled(_added, (leaves, leaves), leaves, leaves, leaves, donate=(0,))
    gram = _compiled(_grams, [leaves] * groups, [leaves] * groups)

    start = time.perf_counter()
    sums, own = [], np.zeros((groups, len(leaves), 4))
    for group in np.arange(groups, dtype=np.int32):
        total = zeros()
        for i in np.arange(number, dtype=np.int32):
            drawn = [draw(keys, params, batches, group, i, which) for which in np.arange(2, dtype=np.int32)]
            total, products = add(total, gradient(params, batches, group, i), *drawn)
            own[group] += np.asarray(products, np.float64)
        sums.append(total)
    grams = gram(*map(list, zip(*sums, strict=True)))
    found = [
        Products(*(np.asarray(products, np.float64) for products in of_leaf), *own[:, number].T)
        for number, of_leaf in enumerate(grams)
    ]
    return Measured(found, time.perf_counter() - start)


def _at(batches: Any, group: jax.Array, number: jax.Array) -> Any:
    return jax.tree.map(lambda x: x[group, number], batches)


def _compiled(function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()) -> Callable[..., Any]:
    return jax.jit(function, donate_argnums=donate).lower(*args).compile()


def _leaves(which: str, params: Any, gradient: Any) -> list[jax.Array]:
    """A gradient's leaves in float32."""
    expected = [(path, jnp.shape(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]
    got = [(path, jnp.shape(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)]
    if got != expected:
        raise ValueError(f"{which} must return a tree like params, got {jax.tree.map(jnp.shape, gradient)}")
    return [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(gradient)]


def _added(sums: Any, gradient: Any, one: Any, other: Any) -> tuple[Any, jax.Array]:
    """A group's sums with a batch, and the batch's own products `(leaves, 4)`, as `Products` has them."""
    off = [(a - g, b - g) for a, b, g in zip(one, other, gradient, strict=True)]
    mean = [(a + b) / 2 for a, b in off]
    own = [
        jnp.stack([_dot(g, g), _dot(g, m), _dot(a, b), _dot(a - b, a - b) / 2])
        for g, m, (a, b) in zip(gradient, mean, off, strict=True)
    ]
    return jax.tree.map(jnp.add, sums, (gradient, mean)), jnp.stack(own)


def _grams(gradients: Any, off: Any) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
    """Products of all pairs of groups' sums, leaf by leaf and by blocks, several times as fast as all at once."""
    groups, found = len(gradients), []

    def add(arrays, gram, first, size):
        rows = jnp.stack([take_block(x, first, size) for x in arrays])
        return gram + jnp.matmul(rows, rows.T, precision=lax.Precision.HIGHEST)

    for of_leaf in zip(*gradients, *off, strict=True):
        arrays = [x.ravel() for x in of_leaf]
        gram = jnp.zeros((len(arrays), len(arrays)))
        if arrays[0].size:
            gram = over_blocks(functools.partial(add, arrays), gram, arrays[0].size, None)
        found.append((gram[:groups, :groups], gram[:groups, groups:], gram[groups:, groups:]))
    return found


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The inner product; XLA sums over the last axis first, on a CPU, several times as fast as over all at once."""
    return jnp.sum(jnp.sum(a * b, range(a.ndim)[-1:]))
