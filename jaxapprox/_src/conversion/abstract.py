"""Traces of models: nothing is computed."""

from collections.abc import Callable
from typing import Any

import jax

_ELSEWHERE = "its output must be the model's and serve nothing else: a SampledSoftmax puts a loss in its place"


def abstract(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes of `function(*args, **kwargs)`; arguments that are no arrays are passed as they are."""
    arrays, with_arrays = _apart(function, *args, **kwargs)
    return jax.eval_shape(with_arrays, arrays)


def not_the_output(function: Callable[..., tuple[list[jax.Array], Any]], *args: Any, **kwargs: Any) -> str:
    """Why a loss can't stand in the place of a layer's output, or an empty string if it can.

    Args:
        function: of `*args` and `**kwargs`, what the layer returned in each of its calls, and what the model did.
    """
    arrays, with_arrays = _apart(function, *args, **kwargs)
    calls = 0

    def outputs(arrays: Any) -> list[Any]:
        nonlocal calls
        of_layer, of_model = with_arrays(arrays)
        calls = len(of_layer)
        return [*of_layer, *jax.tree.leaves(of_model)]

    program = jax.make_jaxpr(outputs)(arrays).jaxpr
    if calls != 1:
        return f"the model must call it once, got {calls} calls"
    same = [program.outvars[0]]
    for equation in program.eqns:
        if any(value is known for value in equation.invars for known in same):
            if equation.primitive.name != "convert_element_type":
                return _ELSEWHERE
            same += equation.outvars
    return "" if any(value is known for value in program.outvars[1:] for known in same) else _ELSEWHERE


def _apart(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[dict[int, Any], Callable[[Any], Any]]:
    """The arrays among the arguments, and `function(*args, **kwargs)` as a function of them."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    arrays = {i: leaf for i, leaf in enumerate(leaves) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")}

    def with_arrays(arrays: dict[int, Any]) -> Any:
        args, kwargs = jax.tree.unflatten(tree, [arrays.get(i, leaf) for i, leaf in enumerate(leaves)])
        return function(*args, **kwargs)

    return arrays, with_arrays
