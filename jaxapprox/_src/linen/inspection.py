"""The layers of a Linen model, in the order of their calls."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.conversion.refusals import left_alone, unsuited
from jaxapprox._src.conversion.rules import Layer, Rules, method_of
from jaxapprox._src.linen.hashed import ALSHDense
from jaxapprox._src.linen.sampled import MCConv, MCDense

REPLACEABLE = (nn.Conv, nn.Dense)
_APPROXIMATE = (MCConv, MCDense, ALSHDense)
_LEFT_ALONE = (nn.ConvTranspose, nn.ConvLocal, nn.DenseGeneral, nn.Einsum)


class Seen(NamedTuple):
    """A layer that the model calls.

    Attributes:
        layer: the layer.
        has_stream: whether the RNG stream reaches it.
        can_keep_tables: whether it could keep hash tables.
    """

    layer: Layer
    has_stream: bool
    can_keep_tables: bool


def layers_of(model: nn.Module, rules: Rules, stream: str, *args: Any, **kwargs: Any) -> list[Seen]:
    """The layers that `model` calls for such arguments, each once, by an abstract `init`; nothing is computed."""
    seen: dict[str, Seen] = {}

    def record(next_fun: Callable[..., Any], inputs: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if context.method_name == "__call__" and isinstance(module, (*REPLACEABLE, *_LEFT_ALONE, *_APPROXIMATE)):
            path = "/".join(module.path)
            x = inputs[0] if inputs else next(iter(options.values()))
            layer = _layer(path, module, x, method_of(rules, path))
            seen.setdefault(path, Seen(layer, module.has_rng(stream), module.is_mutable_collection("lsh")))
        return next_fun(*inputs, **options)

    with nn.intercept_methods(record):
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


def _layer(path: str, module: nn.Module, x: Any, method: Approximation | None) -> Layer:
    features, groups = getattr(module, "features", 0), getattr(module, "feature_group_count", 1)
    inputs, outputs = x.shape[-1] // groups, features // groups if isinstance(features, int) else 0
    refusal = left_alone(module, REPLACEABLE, _APPROXIMATE) or unsuited(module, method, inputs, nn.Dense)
    return Layer(path, type(module).__name__, inputs, outputs, refusal)
