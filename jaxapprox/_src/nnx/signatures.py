"""The signatures of functions that take what another takes."""

import inspect
from collections.abc import Callable
from typing import Any


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
