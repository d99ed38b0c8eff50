"""The layers of a Linen model, in the order of their calls, and whether what would replace them works."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.conversion.refusals import left_alone, trial, unsuited
from jaxapprox._src.conversion.rules import Layer, Rules, method_of
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.linen.einsum import einsum_sizes
from jaxapprox._src.linen.hashed import ALSHDense
from jaxapprox._src.linen.interception import intercepting
from jaxapprox._src.linen.naming import path_of
from jaxapprox._src.linen.products import PRODUCTS
from jaxapprox._src.linen.replacement import approximated
from jaxapprox._src.linen.sampled import MCDense, MCDenseGeneral, MCEinsum
from jaxapprox._src.linen.sampled_conv import MCConv, MCConvTranspose

_APPROXIMATE = (MCConv, MCConvTranspose, MCDense, MCDenseGeneral, MCEinsum, ALSHDense)
_KNOWN = (*PRODUCTS, *_APPROXIMATE, nn.ConvLocal)


class Seen(NamedTuple):
    """A layer that the model calls.

    Attributes:
        layer: the layer.
        has_stream: whether the RNG stream reaches it.
    """

    layer: Layer
    has_stream: bool


def layers_of(model: nn.Module, rules: Rules, stream: str, *args: Any, **kwargs: Any) -> list[Seen]:
    """The layers that `model` calls for such arguments, each once, by an abstract `init`; nothing is computed.

    What `rules` would replace a layer by is tried in each of its calls; what that raises is why it is refused.
    """
    seen: dict[str, Seen] = {}
    trying = False

    def record(next_fun: Callable[..., Any], inputs: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
        nonlocal trying
        y = next_fun(*inputs, **options)
        module = context.module
        if trying or context.method_name != "__call__" or not isinstance(module, _KNOWN):
            return y
        path = path_of(module)
        if path not in seen or not seen[path].layer.refusal:
            trying = True  # which calls a copy of the layer
            layer = _layer(path, module, method_of(rules, path), stream, *inputs, **options)
            trying = False
            seen[path] = Seen(layer, module.has_rng(stream))
        return y

    with intercepting(record):
        abstract(
            functools.partial(model.init, {name: jax.random.key(0) for name in ("params", stream)}), *args, **kwargs
        )
    return list(seen.values())


def abstract(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes of `function(*args, **kwargs)`; arguments that are no arrays are passed as they are."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    arrays = {i: leaf for i, leaf in enumerate(leaves) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")}

    def call(arrays: dict[int, Any]) -> Any:
        args, kwargs = jax.tree.unflatten(tree, [arrays.get(i, leaf) for i, leaf in enumerate(leaves)])
        return function(*args, **kwargs)

    return jax.eval_shape(call, arrays)


def _layer(path: str, module: nn.Module, method: Approximation | None, stream: str, *args: Any, **kwargs: Any) -> Layer:
    terms, units = _sizes(module, *args, **kwargs)
    refusal = left_alone(module, tuple(PRODUCTS), _APPROXIMATE) or unsuited(module, method, terms, nn.Dense)
    if isinstance(method, ALSH) and not refusal and not module.is_mutable_collection("lsh"):
        refusal = "the collection 'lsh', for its tables, must be in variable_axes of the nn.scan or nn.vmap around it"
    if method is not None and not refusal:
        refusal = _trial(module, method, stream, *args, **kwargs)
    return Layer(path, type(module).__name__, terms, units, refusal)


def _sizes(module: Any, inputs: Any, einsum_str: str | None = None, **_: Any) -> tuple[int, int]:
    """The channels or units that go into a layer's sums, and those that come out, within a group."""
    if isinstance(module, nn.Einsum):
        return einsum_sizes(module, inputs, einsum_str)
    axes, groups = getattr(module, "axis", -1), getattr(module, "feature_group_count", 1)
    terms = math.prod(inputs.shape[axis] for axis in np.ravel(axes))
    return terms // groups, math.prod(np.ravel(module.features).tolist()) // groups


def _trial(module: nn.Module, method: Approximation, stream: str, *args: Any, **kwargs: Any) -> str:
    """The line with which `method` fails in the place of a layer that was called with these arguments, or none."""

    def replace(next_fun: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        return approximated(next_fun, context.module, method, stream, *args, **kwargs)

    def call() -> Any:
        rngs = {name: jax.random.key(0) for name in ("params", stream)}
        variables = {"params": module.variables["params"]}
        return module.clone(parent=None).apply(variables, *args, rngs=rngs, mutable=["lsh"], **kwargs)

    with nn.intercept_methods(replace):
        return trial(call)
