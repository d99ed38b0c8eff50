"""Estimates from sampled blocks of channels, for tests of the kernels that compute them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxapprox import mc_conv, mc_dense


def estimates(
    key: jax.Array, *, block: int, dtype: Any = jnp.float32, strides: int = 1, spatial: int = 3, **options: Any
) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
    """Value and both gradients of a convolution and of a product of matrices, from about two of four blocks."""
    rng = np.random.default_rng(1)
    shapes = (3, spatial, 4 * block), (2, 4 * block, 8), (6, 4 * block), (4 * block, 10)
    images, window, matrix, kernel = (jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)
    found = []
    for function, own, *factors in ((mc_conv, {"strides": strides}, images, window), (mc_dense, {}, matrix, kernel)):
        estimate = functools.partial(function, key, ratio=0.5, unit="block", block_size=block, **own, **options)
        y, pull = jax.vjp(estimate, *factors)
        found.append((y, *pull(jnp.cos(y))))
    return found


def programs(estimated: Callable[[jax.Array], Any]) -> dict[str, Callable[[jax.Array], Any]]:
    """Programs of many keys, each of which gives what `jax.vmap(estimated)` does."""
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("d",))
    of_device = jax.sharding.PartitionSpec("d")
    kept = jax.checkpoint(estimated)
    return {
        "vmap": jax.vmap(estimated),
        "vmap twice": lambda keys: jax.tree.map(lambda a: a[0], jax.vmap(jax.vmap(estimated))(keys[None])),
        "scan and checkpoint": lambda keys: jax.lax.scan(lambda c, key: (c, kept(key)), 0, keys)[1],
        # What varies from device to device is told to the compiler; the interpreter does not know of it.
        "shard_map": jax.shard_map(
            jax.vmap(estimated), mesh=mesh, in_specs=of_device, out_specs=of_device, check_vma=False
        ),
    }
