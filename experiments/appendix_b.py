"""The measurements of `experiments.hashing`: what hashing finds of a convolution's active nodes, and what it costs."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from experiments.bench_kernels import paired, seconds
from experiments.compilation import jit
from jaxapprox import active_rows, conv
from jaxapprox.linen import MCConv
from jaxapprox.lsh import Tables, active_set, build, collision_probability, collisions, cosines

_BITS, _TABLES, _POWERS, _ACTIVE = 6, 5, 3, 0.05  # the paper's
_COSINES = np.linspace(-1, 1, 81)
_PATCHES = 2048
_NODES = 512
_SETTINGS: dict[str, dict[str, Any]] = {
    "the paper's": {"build": {}, "select": "union"},
    "simple, count, L 50": {"build": {"transform": "simple", "num_tables": 50}, "select": "count"},
}


@dataclasses.dataclass(frozen=True)
class ConvLayer:
    """A convolution within a network: its inputs `(batch, height, width, in)` and kernel `(v, v, in, out)`."""

    name: str
    inputs: jax.Array
    kernel: jax.Array
    strides: Any  # an int


def conv_layers(model: nn.Module, variables: Any, images: jax.Array) -> list[ConvLayer]:
    """All convolutions of a network, with the inputs that `images` give them, in order."""
    layers = []

    def note(call, args, kwargs, context):
        if isinstance(context.module, MCConv) and context.method_name == "__call__":
            path = context.module.path
            kernel = functools.reduce(lambda params, name: params[name], path, variables["params"])["kernel"]
            layers.append(ConvLayer("/".join(path), args[0], kernel, context.module.strides))
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        model.apply(variables, images, train=False, exact=True)
    return layers


def unmasked_fraction(window: int, size: int) -> float:
    """(a): of the weights that connect a node to all inputs, the share within its patch: v^2 / mu^2."""
    return window**2 / size**2


def masked_nodes(keys: jax.Array, layer: ConvLayer) -> dict[str, Any]:
    """(b): every node of the layer a vector of all its inputs' size, zero outside its patch; queries are whole images.

    Returns:
        By draw, shares of the truly active nodes (the 5 % with the largest inner products) that the active set of as
        many holds, and that share a bucket with the image at all, that share of all nodes, and theory's for both; and
        the cosines of the truly active nodes, as a histogram.
    """
    weights, x = _masked(layer), layer.inputs.reshape(len(layer.inputs), -1)
    size = round(_ACTIVE * len(weights))
    return {"nodes": len(weights), "inputs": x.shape[1], "size": size, **_found(keys, weights, x, size, {}, "union")}


def _masked(layer: ConvLayer) -> jax.Array:
    """`(nodes, inputs)`: the convolution's response to each single input."""
    shape = layer.inputs.shape[1:]
    units = jnp.eye(math.prod(shape), dtype=layer.kernel.dtype).reshape(-1, *shape)
    return _apply(layer, units).reshape(len(units), -1).T


def _apply(layer: ConvLayer, x: jax.Array) -> jax.Array:
    return conv(x, layer.kernel, strides=layer.strides)


def _found(
    keys: jax.Array, weights: jax.Array, x: jax.Array, size: int, options: dict[str, Any], select: str
) -> dict[str, Any]:
    top = lax.top_k(x @ weights.T, size)[1]

    @jit
    def draw(key):
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

    draws = [draw(key) for key in keys]
    shares = {name: [float(draw[0][name]) for draw in draws] for name in draws[0][0]}
    histogram = np.histogram(np.asarray(draws[0][1]), _COSINES, density=True)[0]
    return {**shares, "chance": size / len(weights), "cosines": histogram.tolist()}


def family_per_node(key: jax.Array, layers: list[ConvLayer]) -> dict[str, Any]:
    """(c): hash functions and a table for every node, from its unmasked weights; 512 nodes measured, all extrapolated.

    Returns:
        Seconds and bytes of building, and seconds of querying for one image: of the nodes measured, and of all nodes of
        all `layers` in proportion to their nodes and patches; and seconds of all exact convolutions for one image.
    """
    layer = layers[0]
    patches = _patches(layer)[:_NODES]
    filters = layer.kernel.transpose(2, 0, 1, 3).reshape(-1, layer.kernel.shape[-1]).T
    own = jnp.resize(filters, (_NODES, 1, filters.shape[1]))  # node by node, a layer of one unit each
    keys = jax.random.split(key, _NODES)
    construct, query = jit(jax.vmap(build)), jit(jax.vmap(collisions))
    tables = jax.block_until_ready(construct(keys, own))
    each = jnp.resize(patches, (_NODES, 1, patches.shape[1]))
    jax.block_until_ready(query(tables, each))
    build_seconds = min(seconds(lambda: construct(keys, own)) for _ in range(5))
    query_seconds = min(seconds(lambda: query(tables, each)) for _ in range(5))
    weights = sum(_nodes(one) * (_patch_size(one) + _POWERS) for one in layers)
    scale = weights / (_NODES * (patches.shape[1] + _POWERS))
    bytes_measured = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tables))
    exact = [jit(functools.partial(_apply, one)) for one in layers]
    for one, apply in zip(layers, exact, strict=True):
        jax.block_until_ready(apply(one.inputs))
    exact_seconds = sum(
        min(seconds(functools.partial(apply, one.inputs)) for _ in range(3)) / len(one.inputs)
        for one, apply in zip(layers, exact, strict=True)
    )
    return {
        "nodes": _NODES,
        "all_nodes": sum(map(_nodes, layers)),
        "build_seconds": build_seconds,
        "all_build_seconds": build_seconds * scale,
        "query_seconds": query_seconds,
        "all_query_seconds": query_seconds * scale,
        "bytes": bytes_measured,
        "all_bytes": bytes_measured * scale,
        "exact_seconds": exact_seconds,
        "parameter_bytes": sum(one.kernel.nbytes for one in layers),
    }


def _nodes(layer: ConvLayer) -> int:
    _, height, width, _ = layer.inputs.shape
    return -(-height // layer.strides) * -(-width // layer.strides) * layer.kernel.shape[-1]


def _patch_size(layer: ConvLayer) -> int:
    return math.prod(layer.kernel.shape[:-1])


def shared_filters(keys: jax.Array, layer: ConvLayer, share: float) -> list[dict[str, Any]]:
    """(d): the layer's distinct filters hashed once, queried with patches; `share` of them active at each position.

    Returns:
        For the paper's setting and for a better one: shares as of `masked_nodes`, FLOPs and time over the exact
        convolution's. The time is that of patches, hash query and active inner products.
    """
    filters = layer.kernel.transpose(2, 0, 1, 3).reshape(-1, layer.kernel.shape[-1]).T
    units, features = filters.shape
    size = max(1, round(share * units))
    patches = _patches(layer)
    x = jax.random.choice(keys[0], patches[jnp.any(patches != 0, 1)], (_PATCHES,))
    results = []
    for name, setting in _SETTINGS.items():
        found = _found(keys, filters, x, size, setting["build"], setting["select"])
        tables = build(keys[0], filters, **setting["build"])
        hashing = tables.codes.shape[0] * _BITS * (features + tables.tail.shape[0])
        run = jit(functools.partial(_hashed_conv, layer, size, setting["select"]))
        exact = jit(functools.partial(_apply, layer))
        inputs = layer.inputs[:8]
        times = paired(lambda: run(keys[0], tables, filters, inputs), lambda: exact(inputs), 3)  # noqa: B023
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


def _hashed_conv(
    layer: ConvLayer, size: int, select: str, key: jax.Array, tables: Tables, filters: jax.Array, inputs: jax.Array
) -> jax.Array:
    """The active filters' outputs at every position: `(positions, size)`."""
    patches = _patches(dataclasses.replace(layer, inputs=inputs))
    ids = active_set(key, tables, patches, size=size, select=select)
    return active_rows.forward(patches, filters, None, ids)


def _patches(layer: ConvLayer) -> jax.Array:
    """`(positions of all images, in * v * v)`."""
    window, strides = layer.kernel.shape[:2], (layer.strides,) * 2
    dims = ("NHWC", "HWIO", "NHWC")
    patches = lax.conv_general_dilated_patches(layer.inputs, window, strides, "SAME", dimension_numbers=dims)
    return patches.reshape(-1, patches.shape[-1])
