"""The measurements of `experiments.hashing`: what hashing finds of a convolution's active nodes, and what it costs.

There are four parts. (a) is the share of a node's weights that are not masked. (b) hashes the masked weight vectors of
the first convolution's nodes, and queries with whole images. (c) builds a hash family for each node. (d) does what
weight sharing allows: it hashes every filter once, and queries with the patches.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.cifar.config import Config
from experiments.data.augment import to_float
from experiments.data.dataset import Dataset
from experiments.hashing.filters import ConvLayer, networks
from experiments.hashing.options import Hashing
from experiments.process.environment import environment
from experiments.process.timing import paired, seconds
from experiments.training.compilation import jit
from jaxapprox import ALSH, active_rows, conv
from jaxapprox.lsh import Tables, active_set, build, collision_probability, collisions, cosines

_BITS, _ACTIVE = 6, 0.05  # the paper's
_COSINES = np.linspace(-1, 1, 81)
_PATCHES = 2048
_NODES, _IMAGES = 512, 8
_SETTINGS: dict[str, dict[str, Any]] = {
    "the paper's": {"build": {}, "select": "union"},
    "simple, count, L 50": {"build": {"transform": "simple", "num_tables": 50}, "select": "count"},
}


def measure(options: Hashing, data: Dataset) -> dict[str, Any]:
    """All four parts, on filters as initialised and as trained on the data."""
    config = Config(**options.shared)
    images = to_float(data.test.images[: options.images])
    keys = jax.random.split(jax.random.key(options.seed), options.draws)
    settings = {**dataclasses.asdict(options), "network": config.network, "data_dir": "", "out": ""}
    record: dict[str, Any] = {**environment(), "settings": settings}
    record["unmasked"] = unmasked_fraction(3, images.shape[1])
    for filters, layers in networks(config, data, images):
        chosen = (layers[0], layers[1], layers[-1])
        record[filters] = {
            "masked": masked_nodes(keys, layers[0]),
            "shared": [row for layer in chosen for row in shared_filters(keys, layer, options.active)],
        }
    record["family_per_node"] = family_per_node(keys[0], layers)
    return record


def unmasked_fraction(window: int, size: int) -> float:
    """Part (a): of the weights that connect a node to all inputs, the share within its patch, which is v^2 / mu^2."""
    return window**2 / size**2


def masked_nodes(keys: jax.Array, layer: ConvLayer) -> dict[str, Any]:
    """Part (b): hashes every node of a layer as a vector that is zero outside its patch, and queries with whole images.

    Returns:
        For each set of hash functions: of the truly active nodes (the 5 % with the largest inner products) the share
        that the active set of as many holds, as `recall`, and the share that have a bucket in common with the image, as
        `active_collide`; the latter of all nodes, as `all_collide`; and what theory expects of both. The cosines of the
        truly active nodes with the image are a histogram.
    """
    weights, x = _masked(layer), layer.inputs.reshape(len(layer.inputs), -1)
    size = round(_ACTIVE * len(weights))
    return {"nodes": len(weights), "inputs": x.shape[1], "size": size, **_found(keys, weights, x, size, {}, "union")}


def _masked(layer: ConvLayer) -> jax.Array:
    """The convolution's response to each single input, `(nodes, inputs)`."""
    shape = layer.inputs.shape[1:]
    units = jnp.eye(math.prod(shape), dtype=layer.kernel.dtype).reshape(-1, *shape)
    return _apply(dataclasses.replace(layer, inputs=units)).reshape(len(units), -1).T


def _apply(layer: ConvLayer) -> jax.Array:
    return conv(layer.inputs, layer.kernel, strides=layer.strides)


def _found(
    keys: jax.Array, weights: jax.Array, x: jax.Array, size: int, options: dict[str, Any], select: str
) -> dict[str, Any]:
    top = lax.top_k(x @ weights.T, size)[1]

    @jit
    def draw(key, weights, x, top):
        build_key, select_key = jax.random.split(key)
        tables = build(build_key, weights, **options)
        ids = active_set(select_key, tables, x, size=size, select=select)
        is_active = jax.vmap(lambda own, true: jnp.zeros(len(weights), bool).at[own].set(True)[true])(ids, top)
        collided = collisions(tables, x) > 0
        cosine = cosines(tables, weights, x)
        expected = collision_probability(cosine, _BITS, tables.codes.shape[0])
        of_top = functools.partial(jnp.take_along_axis, indices=top, axis=1)
        shares = {
            "recall": is_active,
            "active_collide": of_top(collided),
            "all_collide": collided,
            "active_expected": of_top(expected),
            "all_expected": expected,
        }
        return {name: jnp.mean(share, dtype=jnp.float32) for name, share in shares.items()}, of_top(cosine)

    draws = [draw(key, weights, x, top) for key in keys]
    shares = {name: [float(draw[0][name]) for draw in draws] for name in draws[0][0]}
    histogram = np.histogram(np.asarray(draws[0][1]), _COSINES, density=True)[0]
    return {**shares, "chance": size / len(weights), "cosines": histogram.tolist()}


def family_per_node(key: jax.Array, layers: list[ConvLayer]) -> dict[str, float]:
    """Part (c): builds hash functions and a table for every node, from its unmasked weights.

    512 nodes of each layer are built and queried with their patches of 8 images; a layer of more nodes counts in
    proportion.

    Returns:
        Nodes, seconds and bytes of building, and seconds of querying for one image: measured, and extrapolated to all
        nodes; for one image the seconds of the exact convolutions, and the bytes of their kernels.
    """
    total = dict.fromkeys(("nodes", "build_seconds", "query_seconds", "bytes"), 0.0)
    extrapolated = {f"all_{name}": 0.0 for name in total}
    exact_seconds = 0.0
    for number, layer in enumerate(layers):
        layer = dataclasses.replace(layer, inputs=layer.inputs[:_IMAGES])
        own = _measured_family(jax.random.fold_in(key, number), layer)
        for name, value in own.items():
            total[name] += value
            extrapolated[f"all_{name}"] += value * _nodes(layer) / own["nodes"]
        exact = jit(_apply)
        exact_seconds += _best_of(lambda: exact(layer)) / len(layer.inputs)  # noqa: B023
    kernel_bytes = sum(layer.kernel.nbytes for layer in layers)
    return {**total, **extrapolated, "exact_seconds": exact_seconds, "kernel_bytes": float(kernel_bytes)}


def _measured_family(key: jax.Array, layer: ConvLayer) -> dict[str, float]:
    filters = _filters(layer)
    nodes, images = min(_NODES, _nodes(layer)), len(layer.inputs)
    node = jnp.arange(nodes)
    patches = _patches(layer).reshape(images, -1, filters.shape[1])
    queries = patches[:, node // len(filters)].swapaxes(0, 1)  # nodes by position, then filter
    weights = filters[node % len(filters)][:, None]  # to each node a layer of one unit
    construct, query = jit(jax.vmap(build)), jit(jax.vmap(collisions))
    keys = jax.random.split(key, nodes)
    tables = construct(keys, weights)
    return {
        "nodes": float(nodes),
        "build_seconds": _best_of(lambda: construct(keys, weights)),
        "query_seconds": _best_of(lambda: query(tables, queries)) / images,
        "bytes": float(sum(a.nbytes for a in jax.tree.leaves(tables))),
    }


def _best_of(function: Callable[[], Any], repeats: int = 5) -> float:
    """Seconds of the fastest call, after a first one."""
    seconds(function)
    return min(seconds(function) for _ in range(repeats))


def _nodes(layer: ConvLayer) -> int:
    _, height, width, _ = layer.inputs.shape
    return -(-height // layer.strides) * -(-width // layer.strides) * layer.kernel.shape[-1]


def shared_filters(keys: jax.Array, layer: ConvLayer, share: float) -> list[dict[str, Any]]:
    """Part (d): hashes each filter once, and queries with patches; `share` of the filters are active at each position.

    Returns:
        For the paper's setting and for a better one: shares as of `masked_nodes`, FLOPs and time over the exact
        convolution's. The time is that of patches, hash query and active inner products.
    """
    filters = _filters(layer)
    units, features = filters.shape
    size = ALSH(active=share).size(units)
    patches = _patches(layer)
    patches = patches[jnp.any(patches != 0, 1)]
    choice_key, time_key = jax.random.split(jax.random.fold_in(keys[0], 1))
    x = jax.random.choice(choice_key, patches, (min(_PATCHES, len(patches)),), replace=False)
    few = dataclasses.replace(layer, inputs=layer.inputs[:_IMAGES])
    results = []
    for name, setting in _SETTINGS.items():
        found = _found(keys, filters, x, size, setting["build"], setting["select"])
        tables = build(time_key, filters, **setting["build"])
        hashing = tables.codes.shape[0] * _BITS * (features + tables.tail.shape[0])
        run, exact = jit(functools.partial(hashed_conv, size=size, select=setting["select"])), jit(_apply)
        times = paired(lambda: run(time_key, tables, few)[0], lambda: exact(few), 3)  # noqa: B023
        results.append(
            {
                "layer": layer.name,
                "setting": name,
                "filters": units,
                "size": size,
                **found,
                "flops_ratio": (hashing + size * features) / (units * features),
                "time_ratio": times["ratio"],
            }
        )
    return results


def hashed_conv(
    key: jax.Array, tables: Tables, layer: ConvLayer, *, size: int, select: str
) -> tuple[jax.Array, jax.Array]:
    """The outputs of `size` filters at every position of all images, and the filters' ids, `(positions, size)` each."""
    patches = _patches(layer)
    ids = active_set(key, tables, patches, size=size, select=select)
    return active_rows.forward(patches, _filters(layer), None, ids), ids


def _filters(layer: ConvLayer) -> jax.Array:
    """The kernel as `(out, in * v * v)`, in the order of `_patches`."""
    return layer.kernel.transpose(2, 0, 1, 3).reshape(-1, layer.kernel.shape[-1]).T


def _patches(layer: ConvLayer) -> jax.Array:
    """The inputs' patches, `(positions of all images, in * v * v)`."""
    window, strides = layer.kernel.shape[:2], (layer.strides,) * 2
    dims = ("NHWC", "HWIO", "NHWC")
    patches = lax.conv_general_dilated_patches(layer.inputs, window, strides, "SAME", dimension_numbers=dims)
    return patches.reshape(-1, patches.shape[-1])
