"""What is trained on what: all that a comparison needs besides its options."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from experiments.training.learner import Learner
from experiments.training.loop import Data
from experiments.training.method import TrainingMethod
from experiments.training.options import RunOptions

DataOf = TypeVar("DataOf", bound=Data)


class MakeLearner(Protocol):
    """Makes the learner of a network by the layers of a method (`TrainingMethod.layers`)."""

    def __call__(self, config: Any, layers: Any) -> Learner: ...


class Report(Protocol):
    """Draws figures of some rows into a directory, and returns lines for the summary."""

    def __call__(self, rows: Sequence[Any], directory: Path) -> list[str]: ...


class Task(NamedTuple, Generic[DataOf]):
    """A network on data.

    Attributes:
        title: says what is trained on which data.
        notes: what else a summary must say of the settings.
        data: loaded.
        methods: those that are compared, by name; the first is the one others are relative to.
        make_learner: makes the learner of the network by one of them.
        report: makes what the program itself has to show of a run; by default the accuracy and time by epoch.
        faster_at_once: whether an accelerator trains several of its seeds faster at once than in turn.
    """

    title: str
    notes: str
    data: DataOf
    methods: Mapping[str, TrainingMethod]
    make_learner: MakeLearner
    report: Report | None = None
    faster_at_once: bool = True


def chosen_methods(config: RunOptions) -> dict[str, TrainingMethod]:
    """The methods that the options ask for, by name.

    Raises:
        ValueError: if one is registered that is no `TrainingMethod`.
    """
    chosen = {name: config.known_methods[name] for name in config.methods}
    for name, method in chosen.items():
        if not isinstance(method, TrainingMethod):
            raise ValueError(f"the method {name} must be decorated by training_method, got {method!r}")
    return chosen


def notes_of(config: RunOptions, *notes: str) -> str:
    """`notes`, the dtype if it is not float32, and once what the methods asked for must say of themselves."""
    own = dict.fromkeys(method.note(config) for method in chosen_methods(config).values())
    dtype = "" if config.dtype == "float32" else f"Computed in {config.dtype}."
    return " ".join(filter(None, [*notes, dtype, *own]))
