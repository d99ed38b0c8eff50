"""The layers of an NNX model."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from flax import nnx

from jaxapprox._src.conversion.abstract import not_the_output
from jaxapprox._src.conversion.refusals import left_alone, unsuited
from jaxapprox._src.conversion.rules import Layer, Rules, method_of
from jaxapprox._src.nnx.layer_shapes import features_of
from jaxapprox._src.nnx.replacement import APPROXIMATE, REPLACEABLE, approximate, failure_of
from jaxapprox._src.softmax.settings import SampledSoftmax


def layers_of(model: nnx.Module, rules: Rules, *args: Any, **kwargs: Any) -> list[Layer]:
    """The layers of a model, in the order in which its modules got their attributes; each once, by its first path.

    Each says why the method that `rules` give it can't replace it. The arguments are what the model is called with:
    they are needed for a `SampledSoftmax` alone.
    """
    found = []
    for path, module in modules_of(model):
        method = method_of(rules, path)
        is_tied = isinstance(method, SampledSoftmax) and type(module) is nnx.Embed
        if is_tied or isinstance(module, (*REPLACEABLE, *APPROXIMATE)):
            inputs, outputs = features_of(module)
            refusal = left_alone(module, (*REPLACEABLE, nnx.Embed), APPROXIMATE)
            refusal = refusal or unsuited(module, method, inputs, nnx.Linear, nnx.Embed)
            if method is not None and not refusal:
                refusal = failure_of(module, method)
            if isinstance(method, SampledSoftmax) and not refusal:
                refusal = _not_the_output(model, path, args, kwargs)
            found.append(Layer(path, type(module).__name__, inputs, outputs, refusal))
    return found


def _not_the_output(model: nnx.Module, path: str, args: Any, kwargs: Any) -> str:
    """Why a loss can't stand in the place of a layer's output, or an empty string if it can."""
    if not args and not kwargs:
        return "convert must be given what the model is called with: only that shows which layer is its last"
    graph, state = nnx.split(model)

    def outputs(state: Any, *args: Any, **kwargs: Any) -> tuple[list[jax.Array], Any]:
        copy: Any = nnx.merge(graph, state)
        seen: list[jax.Array] = []
        layer = module_at(copy, path)
        approximate(layer, SampledSoftmax(), "sample", jax.random.split(jax.random.key(0)))
        layer.scores = functools.partial(_watched, seen, layer.scores)
        result = copy(*args, **kwargs)
        return seen, result

    return not_the_output(outputs, state, *args, **kwargs)


def _watched(seen: list[jax.Array], scores: Callable[..., jax.Array], *args: Any, **kwargs: Any) -> jax.Array:
    seen.append(scores(*args, **kwargs))
    return seen[-1]


def modules_of(model: nnx.Module) -> Iterator[tuple[str, nnx.Module]]:
    """The modules below a model with their paths; each once."""
    yield from _below(model, "", {id(model): model})


def module_at(model: nnx.Module, path: str) -> Any:
    """The module of a path that `modules_of` gave for this model or one of which it is a copy."""
    node: Any = model
    while path:
        name, node = next((n, child) for n, child in _children(node) if path == n or path.startswith(f"{n}/"))
        path = path[len(name) + 1 :]
    return node


def _below(node: Any, prefix: str, known: dict[int, Any]) -> Iterator[tuple[str, nnx.Module]]:
    for name, child in _children(node):
        if id(child) in known:
            continue
        known[id(child)] = child  # the reference keeps others from getting the id
        if isinstance(child, nnx.Module):
            yield prefix + name, child
        yield from _below(child, f"{prefix}{name}/", known)


def _children(node: Any) -> list[tuple[str, Any]]:
    """What NNX finds in a node, by name: attributes of its objects, items of all that JAX takes for a tree."""
    if isinstance(node, nnx.Variable):
        return []
    if isinstance(node, nnx.Pytree | Mapping):
        items = node.items() if isinstance(node, Mapping) else vars(node).items()
        return [(str(name), child) for name, child in items]
    leaves, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda child: child is not node)
    return [(jax.tree_util.keystr(path, simple=True), child) for path, child in leaves if path]
