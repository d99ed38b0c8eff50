"""The layers of a Linen model, in the order of their calls, and whether what would replace them works."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxapprox._src.conversion.abstract import abstract, not_the_output
from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.conversion.refusals import left_alone, trial, unsuited
from jaxapprox._src.conversion.rules import Layer, Rules, method_of
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.linen.einsum import einsum_sizes
from jaxapprox._src.linen.hashed import ALSHDense
from jaxapprox._src.linen.interception import intercepting
from jaxapprox._src.linen.naming import path_of
from jaxapprox._src.linen.products import PRODUCTS
from jaxapprox._src.linen.replacement import approximated, can_be_replaced
from jaxapprox._src.linen.sampled import MCDense, MCDenseGeneral, MCEinsum
from jaxapprox._src.linen.sampled_conv import MCConv, MCConvTranspose
from jaxapprox._src.linen.sampled_softmax import SampledSoftmaxDense
from jaxapprox._src.softmax.settings import SampledSoftmax

_APPROXIMATE = (MCConv, MCConvTranspose, MCDense, MCDenseGeneral, MCEinsum, ALSHDense, SampledSoftmaxDense)
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
        module, name = context.module, context.method_name
        path = path_of(module)
        method = method_of(rules, path)
        is_layer = name == "__call__" and isinstance(module, _KNOWN)
        is_tied = isinstance(method, SampledSoftmax) and can_be_replaced(module, name)
        if trying or not (is_layer or is_tied):
            return y
        if path not in seen or not seen[path].layer.refusal:
            trying = True  # which calls a copy of the layer
            layer = _layer(path, module, method, stream, *inputs, **options)
            trying = False
            seen[path] = Seen(layer, module.has_rng(stream))
        return y

    with intercepting(record):
        abstract(functools.partial(model.init, _keys(stream)), *args, **kwargs)
    for path, (layer, has_stream) in seen.items():
        if isinstance(method_of(rules, path), SampledSoftmax) and not layer.refusal:
            refusal = not_the_output(functools.partial(_outputs, model, path, stream), *args, **kwargs)
            seen[path] = Seen(layer._replace(refusal=refusal), has_stream)
    return list(seen.values())


def _outputs(model: nn.Module, path: str, stream: str, *args: Any, **kwargs: Any) -> tuple[list[jax.Array], Any]:
    """What the layer at a path returns in each of its calls, and what the model returns."""
    outputs = []

    def record(next_fun: Callable[..., Any], inputs: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
        y = next_fun(*inputs, **options)
        if path_of(context.module) == path and can_be_replaced(context.module, context.method_name):
            outputs.append(y)
        return y

    with intercepting(record):
        result, _ = model.init_with_output(_keys(stream), *args, **kwargs)
    return outputs, result


def _keys(stream: str) -> dict[str, jax.Array]:
    return {name: jax.random.key(0) for name in ("params", stream)}


def _layer(path: str, module: nn.Module, method: Approximation | None, stream: str, *args: Any, **kwargs: Any) -> Layer:
    terms, units = _sizes(module, *args, **kwargs)
    refusal = left_alone(module, (*PRODUCTS, nn.Embed), _APPROXIMATE) or unsuited(
        module, method, terms, nn.Dense, nn.Embed
    )
    if isinstance(method, ALSH) and not refusal and not module.is_mutable_collection("lsh"):
        refusal = "the collection 'lsh', for its tables, must be in variable_axes of the nn.scan or nn.vmap around it"
    if method is not None and not refusal:
        refusal = _trial(module, method, stream, *args, **kwargs)
    return Layer(path, type(module).__name__, terms, units, refusal)


def _sizes(module: Any, inputs: Any, einsum_str: str | None = None, **_: Any) -> tuple[int, int]:
    """The channels or units that go into a layer's sums, and those that come out, within a group."""
    if isinstance(module, nn.Einsum):
        return einsum_sizes(module, inputs, einsum_str)
    if isinstance(module, nn.Embed):
        return module.features, module.num_embeddings
    axes, groups = getattr(module, "axis", -1), getattr(module, "feature_group_count", 1)
    terms = math.prod(inputs.shape[axis] for axis in np.ravel(axes))
    return terms // groups, math.prod(np.ravel(module.features).tolist()) // groups


def _trial(module: nn.Module, method: Approximation, stream: str, *args: Any, **kwargs: Any) -> str:
    """The line with which `method` fails in the place of a layer that was called with these arguments, or none."""

    def replace(next_fun: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if not can_be_replaced(context.module, context.method_name):  # the setup of an embedding
            return next_fun(*args, **kwargs)
        labels = jnp.zeros(jnp.shape(args[0])[:-1], jnp.int32) if isinstance(method, SampledSoftmax) else None
        return approximated(next_fun, context.module, method, stream, labels, *args, **kwargs)

    def call() -> Any:
        variables = {"params": module.variables["params"]}
        options = {"rngs": _keys(stream), "mutable": ["lsh"], **kwargs}
        name = "attend" if isinstance(module, nn.Embed) else None
        return module.clone(parent=None).apply(variables, *args, method=name, **options)

    with nn.intercept_methods(replace):
        return trial(call)
