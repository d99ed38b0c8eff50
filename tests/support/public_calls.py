"""The public functions and layers as functions of a key and arrays, small: rows of the matrix in docs/drop_in.md."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from oracles import vectors
from softmax_calls import exact_softmax, hashed_softmax, linen_softmax, nnx_softmax, sampled_softmax

from jaxapprox import SAMPLERS, active_layers, active_rows, blocks, conv, linen, lsh, mc_conv, mc_dense
from jaxapprox import inclusion_probabilities as probabilities
from jaxapprox import nnx as janx
from jaxapprox.adaptive_dropout import adaptive_dropout
from jaxapprox.diagnostics import diagnose
from jaxapprox.softmax import log_uniform


class Call(NamedTuple):
    """A function of a key and arrays.

    Attributes:
        function: of a key, the arrays of `examples` and those of `weights`.
        examples: arrays whose first axis are examples.
        weights: arrays that all examples share; of those `split`, the last axis can lie on several devices.
        split: the first so many weights can be split.
        has_gradient: whether it is differentiable in its floating arrays.
    """

    function: Callable[..., Any]
    examples: tuple[Any, ...]
    weights: tuple[Any, ...] = ()
    split: int = 0
    has_gradient: bool = True

    @property
    def arrays(self) -> tuple[Any, ...]:
        return self.examples + self.weights


MODES = ("forward", "backward", "straight_through", "kernel")
BATCH = 8  # no other axis has a multiple of it: an array with the whole batch is known by its shape
X, KERNEL, BIAS = vectors(0, BATCH, 6), vectors(1, 6, 12), vectors(2, 1, 12)[0]
IMAGES, WINDOW = vectors(3, BATCH * 3 * 3, 4).reshape(BATCH, 3, 3, 4), vectors(4, 3 * 3 * 4, 4).reshape(3, 3, 4, 4)
SCORES = np.abs(vectors(5, 1, 10)[0])
IDS = np.stack([np.random.default_rng(i).permutation(12)[:3] for i in range(BATCH)]).astype(np.int32)
LABELS = np.arange(BATCH, dtype=np.int32)
TABLES = jax.tree.map(np.asarray, lsh.build(jax.random.key(0), KERNEL.T))
MANY = jax.tree.map(np.asarray, lsh.build(jax.random.key(0), vectors(6, 2500, 6)))  # so many that they have buckets


def keyless(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda key, *arrays: function(*arrays)


def linen_layer(make: Callable[..., Any]) -> Callable[..., Any]:
    """A layer, from a function of its kernel's shape: a shard of a kernel is a smaller layer's."""

    def call(key, x, kernel=None, bias=None, tables=None):
        variables = {"params": {"kernel": kernel, "bias": bias}, "lsh": {"tables": tables}}
        return make(np.shape(kernel)).apply(variables, x, deterministic=False, rngs={"sample": key})

    return call


def nnx_layer(make: Callable[..., Any]) -> Callable[..., Any]:
    """A layer, from a function of its kernel's shape that takes `rngs` and `param_dtype` as well."""

    def call(key, x, kernel=None, bias=None, tables=None):
        def new():
            weights = {} if kernel is None else {"param_dtype": x.dtype}
            return make(np.shape(kernel), rngs=nnx.Rngs(params=0, sample=1), **weights)

        layer = new() if tables else nnx.eval_shape(new)  # its arrays are replaced
        if kernel is not None:
            layer.kernel, layer.bias = nnx.Param(kernel), nnx.Param(bias)
        if tables is not None:
            layer.tables.store(tables)
        return layer(x, rngs=key)

    return call


def with_gradients(call: Call) -> Callable[..., Any]:
    """The same function, that also returns the gradients of its output's sum of squares in the floating arrays."""
    if not call.has_gradient:
        return call.function

    def function(key, *arrays):
        places = floating(arrays)

        def of_floating(*values):
            new = dict(zip(places, values, strict=True))
            return call.function(key, *(new.get(i, array) for i, array in enumerate(arrays)))

        y, pull_back = jax.vjp(of_floating, *(arrays[i] for i in places))
        return y, pull_back(y)

    return function


def floating(arrays: tuple[Any, ...]) -> list[int]:
    """Which of the arrays can be differentiated in; hash tables can't."""
    return [
        i for i, array in enumerate(arrays) if hasattr(array, "dtype") and jnp.issubdtype(array.dtype, jnp.floating)
    ]


def block_layer(layer: Callable[..., Any], by_units: bool) -> Callable[..., Any]:
    """A layer of `active_layers`, and what its pull-back gives."""

    def call(key, x, kernel, bias, *more):
        params = {"weights": kernel.T, "bias": bias} if by_units else {"kernel": kernel, "bias": bias}
        y, pull_back = layer(key, params, *more, active_layers.Active(None, x), activation=jnp.tanh)
        blocks, dx = pull_back(jnp.ones_like(y.values if isinstance(y, active_layers.Active) else y))
        return y, dx, jax.tree.leaves(blocks)

    return call


def rows_layer(key, x, ids, kernel, bias):
    y = active_rows.forward(x, kernel.T, bias, ids)
    dx, gradient = active_rows.pull_back(x, kernel.T, ids, y)
    return y, dx, gradient


def rows_looked_up(key, ids, weights):
    y, pull_back = active_rows.embed(weights, ids)
    return y, pull_back(y)


PROPOSAL = jax.tree.map(np.asarray, log_uniform(12, 4))
WITH_BIAS = jax.tree.map(np.asarray, lsh.build(jax.random.key(0), KERNEL.T, bias=BIAS))

partial = functools.partial
_CONV, _DENSE = ((IMAGES,), (WINDOW, BIAS[:4]), 2), ((X,), (KERNEL, BIAS), 2)
CALLS: dict[str, Call] = {
    "conv": Call(keyless(partial(conv, strides=2)), (IMAGES,), (WINDOW,), 1),
    **{
        f"mc_conv, unit {unit}, mode {mode}": Call(
            partial(mc_conv, ratio=0.5, unit=unit, mode=mode), (IMAGES,), (WINDOW,), 1
        )
        for unit in ("channel", "edge")
        for mode in MODES
    },
    **{
        f"mc_conv, unit block, mode {mode}": Call(
            partial(mc_conv, ratio=0.5, unit="block", block_size=2, mode=mode), (IMAGES,), (WINDOW,), 1
        )
        for mode in ("forward", "backward")
    },
    "mc_dense, scores kept": Call(
        lambda key, x, kernel, scores: mc_dense(key, x, kernel, ratio=0.5, scores=scores), (X,), (KERNEL, SCORES[:6]), 1
    ),
    "mc_dense, unit block": Call(partial(mc_dense, ratio=0.5, unit="block", block_size=2), (X,), (KERNEL,), 1),
    **{f"mc_dense, mode {mode}": Call(partial(mc_dense, ratio=0.5, mode=mode), (X,), (KERNEL,), 1) for mode in MODES},
    **{
        name: Call(partial(sampler, num_samples=4), (), (SCORES,), has_gradient=False)
        for name, sampler in SAMPLERS.items()
    },
    "inclusion_probabilities": Call(keyless(partial(probabilities, num_samples=4)), (), (SCORES,), has_gradient=False),
    "lsh.build": Call(lsh.build, (), (KERNEL.T,), has_gradient=False),
    "lsh.rebuild": Call(keyless(lsh.rebuild), (), (TABLES, KERNEL.T), has_gradient=False),
    "lsh.query_codes": Call(lambda key, x, tables: lsh.query_codes(tables, x), (X,), (TABLES,), has_gradient=False),
    "lsh.collisions": Call(lambda key, x, tables: lsh.collisions(tables, x), (X,), (TABLES,), has_gradient=False),
    **{
        f"lsh.active_set, select {select}, {units} units": Call(
            lambda key, x, tables, select=select: lsh.active_set(key, tables, x, size=3, select=select),
            (X,),
            (tables,),
            has_gradient=False,
        )
        for select in ("union", "count")
        for units, tables in (("few", TABLES), ("many", MANY))
    },
    "lsh.shared_active_set": Call(
        lambda key, x, tables: lsh.shared_active_set(key, tables, x, size=3), (X,), (TABLES,), has_gradient=False
    ),
    **{
        f"lsh.active_dense, form {form}": Call(
            lambda key, x, ids, kernel, bias, form=form: lsh.active_dense(x, kernel, bias, ids, form=form),
            (X, IDS),
            (KERNEL, BIAS),
        )
        for form in ("gathered", "masked")
    },
    "diagnose": Call(
        lambda key, x, ids, tables, kernel: diagnose(tables, kernel.T, x, ids),
        (X, IDS),
        (TABLES, KERNEL),
        has_gradient=False,
    ),
    "active_rows": Call(rows_layer, (X, IDS), (KERNEL, BIAS), has_gradient=False),
    "active_rows.add_rows": Call(
        lambda key, x, ids, weights, bias: active_rows.add_rows(
            weights, bias, active_rows.RowGradient(ids, x[:, :3], x), -0.5
        ),
        *((), (X, IDS, KERNEL.T, BIAS)),
        has_gradient=False,
    ),
    "active_rows.embed": Call(rows_looked_up, (IDS,), (KERNEL.T,), has_gradient=False),
    "active_rows.to_blocks": Call(
        lambda key, x, ids, shared: active_rows.to_blocks(
            [active_rows.RowGradient(ids, x[:, :3], x), active_rows.RowGradient(shared, x[:, :3], x)], 12
        ),
        *((X, IDS), (IDS[0],)),
        has_gradient=False,
    ),
    "blocks.add_up": Call(lambda key, ids, x: blocks.add_up(ids, x, 12), (IDS[:, 0], X), has_gradient=False),
    "softmax.cross_entropy": Call(exact_softmax, (X, LABELS), (KERNEL, BIAS), has_gradient=False),
    "softmax, sampled": Call(sampled_softmax, (X, LABELS), (KERNEL, BIAS, PROPOSAL), has_gradient=False),
    "softmax, hashed": Call(hashed_softmax, (X, LABELS), (KERNEL, BIAS, WITH_BIAS, PROPOSAL), has_gradient=False),
    "active_layers.dense": Call(
        block_layer(lambda key, params, x, activation: active_layers.dense(params, x, activation=activation), False),
        *((X,), (KERNEL, BIAS)),
        has_gradient=False,
    ),
    "active_layers.hashed": Call(
        block_layer(partial(active_layers.hashed, size=3), True), (X,), (KERNEL, BIAS, TABLES), has_gradient=False
    ),
    "active_layers.sampled": Call(
        block_layer(partial(active_layers.sampled, ratio=0.5, sampler=SAMPLERS["systematic"]), False),
        *((X,), (KERNEL, BIAS, np.abs(KERNEL[:, 0]))),
        has_gradient=False,
    ),
    "active_layers.dropped": Call(
        block_layer(partial(active_layers.dropped, rate=0.5), True), (), (X[:1], KERNEL, BIAS), has_gradient=False
    ),
    "active_layers.adaptively_dropped": Call(
        block_layer(partial(active_layers.adaptively_dropped, keep=jax.nn.sigmoid, capacity=0.5), True),
        *((), (X[:1], KERNEL, BIAS)),
        has_gradient=False,
    ),
    "adaptive_dropout": Call(lambda key, z: adaptive_dropout(key, z, jnp.tanh, alpha=1.0, beta=0.0), (X,)),
    **{
        f"linen.{kind.__name__}": Call(linen_layer(lambda shape, kind=kind: kind(shape[-1], shape[:-2])), *_CONV)
        for kind in (linen.MCConv, linen.MCConvTranspose)
    },
    **{
        f"linen.{kind.__name__}": Call(linen_layer(lambda shape, kind=kind: kind(shape[-1])), *_DENSE)
        for kind in (linen.MCDense, linen.MCDenseGeneral)
    },
    "linen.MCEinsum": Call(linen_layer(lambda shape: linen.MCEinsum(shape, "nd,df->nf")), *_DENSE),
    "linen.ALSHDense": Call(
        linen_layer(lambda shape: linen.ALSHDense(shape[-1], active=0.25)), (X,), (KERNEL, BIAS, TABLES)
    ),
    "linen.SampledSoftmaxDense": Call(linen_softmax, (X, LABELS), (KERNEL, BIAS)),
    "linen.AdaptiveDropout": Call(linen_layer(lambda shape: linen.AdaptiveDropout()), (X,)),
    **{
        f"nnx.{kind.__name__}": Call(
            nnx_layer(lambda shape, kind=kind, **given: kind(*shape[-2:], shape[:-2], **given)), *_CONV
        )
        for kind in (janx.MCConv, janx.MCConvTranspose)
    },
    **{
        f"nnx.{kind.__name__}": Call(nnx_layer(lambda shape, kind=kind, **given: kind(*shape, **given)), *_DENSE)
        for kind in (janx.MCDense, janx.MCLinearGeneral)
    },
    "nnx.MCEinsum": Call(
        nnx_layer(lambda shape, **given: janx.MCEinsum("nd,df->nf", shape, shape[-1:], **given)), *_DENSE
    ),
    "nnx.ALSHDense": Call(
        nnx_layer(lambda shape, **given: janx.ALSHDense(*shape, active=0.25, **given)), (X,), (KERNEL, BIAS, TABLES)
    ),
    "nnx.SampledSoftmaxDense": Call(nnx_softmax, (X, LABELS), (KERNEL, BIAS)),
    "nnx.AdaptiveDropout": Call(nnx_layer(lambda shape, **given: janx.AdaptiveDropout(**given)), (X,)),
}

DIFFERENTIABLE = [name for name, call in CALLS.items() if call.has_gradient]
# For what has to be compiled.
ONE_OF_EACH_KIND = (
    *("conv", "mc_conv, unit channel, mode straight_through", "mc_conv, unit edge, mode backward"),
    *("mc_dense, mode forward", "lsh.active_set, select union, few units", "lsh.active_set, select union, many units"),
    *("active_rows", "active_layers.sampled", "adaptive_dropout", "linen.ALSHDense", "nnx.MCConv"),
)
