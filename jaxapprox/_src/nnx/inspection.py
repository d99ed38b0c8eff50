"""The layers of an NNX model, and a way to put others in their places."""

from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from typing import Any

from flax import nnx

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.conversion.refusals import left_alone, unsuited
from jaxapprox._src.conversion.rules import Layer, Rules, method_of
from jaxapprox._src.nnx.hashed import ALSHDense
from jaxapprox._src.nnx.sampled import MCConv, MCDense

_REPLACEABLE = (nnx.Conv, nnx.Linear)
_APPROXIMATE = (MCConv, MCDense, ALSHDense)
_LEFT_ALONE = (nnx.ConvTranspose, nnx.LinearGeneral, nnx.Einsum)


def layers_of(model: nnx.Module, rules: Rules) -> list[Layer]:
    """The layers of a model, in the order in which its modules got their attributes; each once.

    Each says why the method that `rules` give it can't replace it.
    """
    found: list[Layer] = []

    def note(path: str, node: Any) -> Any:
        if isinstance(node, (*_REPLACEABLE, *_APPROXIMATE, *_LEFT_ALONE)):
            found.append(_layer(path, node, method_of(rules, path)))
        return node

    replace(model, note)
    return found


def replace(model: nnx.Module, replacement: Callable[[str, Any], Any]) -> None:
    """Calls `replacement(path, node)` for each node below `model`, and puts what it returns in the node's place.

    A node that occurs twice is asked for once, by its first path, and replaced in all of its places.
    """
    _replaced("", model, replacement, {})


def _replaced(path: str, node: Any, replacement: Callable[[str, Any], Any], known: dict[int, Any]) -> Any:
    if not isinstance(node, nnx.Module | MutableSequence | MutableMapping | tuple):
        return node
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = new = replacement(path, node) if path else node
    if new is not node:
        return new
    changes = {}
    for name, child in _children(node):
        other = _replaced(f"{path}/{name}" if path else str(name), child, replacement, known)
        if other is not child:
            changes[name] = other
    if not changes:
        return node
    if isinstance(node, tuple):
        known[id(node)] = tuple(changes.get(i, child) for i, child in enumerate(node))
        return known[id(node)]
    for name, other in changes.items():
        if isinstance(node, MutableSequence | MutableMapping):
            node[name] = other
        else:
            setattr(node, name, other)
    return node


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, MutableSequence | tuple):
        return iter(list(enumerate(node)))
    items = node.items() if isinstance(node, MutableMapping) else vars(node).items()
    return iter([(name, child) for name, child in items if not str(name).startswith("_")])


def _layer(path: str, module: Any, method: Approximation | None) -> Layer:
    inputs, outputs = (_size(getattr(module, name, None)) for name in ("in_features", "out_features"))
    groups = getattr(module, "feature_group_count", 1)
    inputs, outputs = inputs // groups, outputs // groups
    refusal = left_alone(module, _REPLACEABLE, _APPROXIMATE) or unsuited(module, method, inputs, nnx.Linear)
    return Layer(path, type(module).__name__, inputs, outputs, refusal)


def _size(features: Any) -> int:
    """The number of features; 0 for layers with several axes of features."""
    return features if isinstance(features, int) else 0
