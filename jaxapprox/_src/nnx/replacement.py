"""Layers of Flax's NNX that become approximate, and what keeps them from it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.conversion.refusals import trial
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.nnx.hashed import ALSHDense, StoredTables
from jaxapprox._src.nnx.layer_shapes import example_input, stack_of
from jaxapprox._src.nnx.sampled import MCDense, MCEinsum, MCLinearGeneral
from jaxapprox._src.nnx.sampled_convolution import MCConv, MCConvTranspose
from jaxapprox._src.nnx.sampled_softmax import SampledSoftmaxDense, SampledSoftmaxEmbed
from jaxapprox._src.softmax.settings import SampledSoftmax

_SAMPLED: dict[type[nnx.Module], type[nnx.Module]] = {
    nnx.Conv: MCConv,
    nnx.ConvTranspose: MCConvTranspose,
    nnx.Linear: MCDense,
    nnx.LinearGeneral: MCLinearGeneral,
    nnx.Einsum: MCEinsum,
}
REPLACEABLE: tuple[type, ...] = tuple(_SAMPLED)
APPROXIMATE: tuple[type, ...] = (*_SAMPLED.values(), ALSHDense, SampledSoftmaxDense)


def approximate(layer: Any, method: Approximation, rng_collection: str, keys: jax.Array) -> None:
    """Makes a layer an approximate one in place, so that it stays what it is wherever a model refers to it.

    Args:
        layer: of a class in `REPLACEABLE`; or, for a `SampledSoftmax`, an `nnx.Embed`.
        method: how it is approximated.
        rng_collection: the name of the stream that it draws from.
        keys: two, for the stream and for hash tables.
    """
    stack = stack_of(layer)
    stream_key, tables_key = (jax.random.split(key, stack) if stack else key for key in keys)
    layer.deterministic, layer.rng_collection, layer.method = False, rng_collection, method
    layer.rngs = nnx.RngStream(stream_key, tag=rng_collection)
    if isinstance(method, ALSH):
        build = method.build
        for _ in stack:
            build = jax.vmap(build)
        layer.tables = StoredTables(build(tables_key, layer.kernel[...].swapaxes(-1, -2)))
    if isinstance(method, SampledSoftmax):
        layer.labels = nnx.data(None)
        kind: type = SampledSoftmaxEmbed if isinstance(layer, nnx.Embed) else SampledSoftmaxDense
    else:
        kind = ALSHDense if isinstance(method, ALSH) else _SAMPLED[type(layer)]
    object.__setattr__(layer, "__class__", kind)  # not by NNX's own, which notes the names of attributes


def failure_of(layer: Any, method: Approximation) -> str:
    """The line with which a layer fails that `method` approximates, or an empty string; nothing is computed."""
    depth = len(stack_of(layer))
    graph, *states = nnx.split(layer, nnx.Param, ...)
    params, others = states
    one = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape[depth:], array.dtype), params)
    settings = jax.tree.map(functools.partial(_one_setting, depth), others)

    def train(params: Any, x: jax.Array) -> None:
        def output(params: Any, x: jax.Array) -> jax.Array:
            layer: Any = nnx.merge(graph, params, settings)
            approximate(layer, method, "sample", jax.random.split(jax.random.key(0)))
            return _call_of(layer, method, x)

        y, gradients = jax.vjp(output, params, x)
        gradients(y)

    return trial(train, one, example_input(layer))


def _call_of(layer: Any, method: Approximation, x: jax.Array) -> jax.Array:
    """What a layer that `method` approximates returns for an input, given labels if it takes some."""
    if not isinstance(method, SampledSoftmax):
        return layer(x)
    call: Any = layer.attend if isinstance(layer, nnx.Embed) else layer
    return call(x, labels=jnp.zeros(x.shape[:-1], jnp.int32))


def _one_setting(depth: int, leaf: Any) -> Any:
    """A mask or another array among the settings, for one of a stack of layers; zeros for an abstract one."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return np.zeros(leaf.shape[depth:], leaf.dtype)
    return leaf[(0,) * depth] if depth else leaf
