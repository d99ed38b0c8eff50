"""Calls whose result is the next call's argument, in the same memory: as a training loop steps."""

from collections.abc import Callable
from typing import Any, Protocol

from experiments.training.compilation import jit


class Step(Protocol):
    """A function of a state and of constant arguments, that returns the next state and another result."""

    def __call__(self, state: Any, *arguments: Any) -> tuple[Any, Any]: ...


def in_place(step: Step, state: Any, *arguments: Any) -> Callable[[], tuple[Any, Any]]:
    """A function that calls the compiled `step` on the state that its last call returned.

    Args:
        step: donates its state's memory to the next state.
        state: the first; its arrays can't be used afterwards.
        *arguments: the same in every call.
    """
    kept, compiled = [state], jit(step, donate_argnums=0)

    def call() -> tuple[Any, Any]:
        kept[0], other = compiled(kept[0], *arguments)
        return kept[0], other

    return call
