"""What is trained on what: all that a comparison needs besides its options."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from experiments.data import load
from experiments.data.dataset import Dataset, first_images, grey, hold_out
from experiments.training.learner import Learner
from experiments.training.method import TrainingMethod
from experiments.training.options import RunOptions


class MakeLearner(Protocol):
    """Makes the learner of a network by the layers of a method (`TrainingMethod.layers`)."""

    def __call__(self, config: Any, layers: Any) -> Learner: ...


class Task(NamedTuple):
    """A network on data.

    Attributes:
        title: says what is trained on which data.
        notes: what else a summary must say of the settings.
        data: loaded.
        methods: those that are compared, by name; the first is the one others are relative to.
        make_learner: makes the learner of the network by one of them.
    """

    title: str
    notes: str
    data: Dataset
    methods: Mapping[str, TrainingMethod]
    make_learner: MakeLearner


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
    """`notes`, and once what the methods that the options ask for must say of themselves."""
    own = dict.fromkeys(method.note(config) for method in chosen_methods(config).values())
    return " ".join(filter(None, [*notes, *own]))


def load_data(config: RunOptions, *, colour: bool = True) -> Dataset:
    """Loads the data that the options ask for, colour images as grey ones unless `colour`.

    Raises:
        UsageError: as for `experiments.data.load`.
    """
    data = load(config.data, config.data_dir)
    if not colour:
        data = grey(data)
    if config.validation:
        data = hold_out(data)
    return first_images(data, config.images) if config.images else data
