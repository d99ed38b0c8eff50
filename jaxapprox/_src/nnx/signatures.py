"""Functions that take what another takes."""

import inspect
from collections.abc import Callable
from typing import Any

from flax import nnx


def taking_all_of(theirs: Callable[..., Any]) -> Callable[[Any], Any]:
    """Shows a function that hands `*args` and `**kwargs` on to `theirs` with the arguments that it so takes.

    >>> import inspect
    >>> from jaxapprox._src.nnx.signatures import taking_all_of
    >>> @taking_all_of(lambda a, *, b=1: None)
    ... def ours(*args, c=2, **kwargs):
    ...     pass
    >>> str(inspect.signature(ours))
    '(a, *, b=1, c=2)'
    """

    def shown(ours: Any) -> Any:
        signature = inspect.signature(theirs)
        own = [
            parameter
            for parameter in inspect.signature(ours).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in signature.parameters
        ]
        ours.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])
        return ours

    return shown


def metadata_by_initialisers(theirs: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Options for `theirs`, with `kernel_metadata` and `bias_metadata` in the initialisers if Flax is older than 0.12.

    Args:
        theirs: the `__init__` of a layer of Flax's.
        options: keyword arguments for it.
    """
    taken = inspect.signature(theirs).parameters
    options = dict(options)
    for name in ("kernel", "bias"):
        if f"{name}_metadata" in options and f"{name}_metadata" not in taken:
            initialiser = options.get(f"{name}_init", taken[f"{name}_init"].default)
            options[f"{name}_init"] = nnx.with_metadata(initialiser, **options.pop(f"{name}_metadata"))
    return options
