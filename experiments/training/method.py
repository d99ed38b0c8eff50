"""What `--methods` names: a way to train the network of an experiment."""

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

from experiments.training.options import RunOptions

Options = TypeVar("Options", bound=RunOptions)
Layers = TypeVar("Layers")


def no_note(options: RunOptions) -> str:
    """Says nothing: the note of a method that needs none."""
    return ""


@dataclasses.dataclass(frozen=True)
class TrainingMethod(Generic[Options, Layers]):
    """A way to train the network of an experiment.

    Attributes:
        layers: from the options, with one value of each option in `sweeps`, makes what the experiment's learner trains
            the network with.
        sweeps: names of the options (fields of `RunOptions`) that it reads and of which it can compare several values,
            each compiled on its own. Learning rates are no part of it: every method compares several.
        note: from the options, says what a reader of the method's results must know.
    """

    layers: Callable[[Options], Layers]
    sweeps: tuple[str, ...] = ()
    note: Callable[[Options], str] = no_note


def training_method(
    *, sweeps: tuple[str, ...] = (), note: Callable[[Options], str] = no_note
) -> Callable[[Callable[[Options], Layers]], TrainingMethod[Options, Layers]]:
    """Decorates a function that makes layers from options, so that it is a `TrainingMethod`."""
    return lambda layers: TrainingMethod(layers, sweeps, note)
