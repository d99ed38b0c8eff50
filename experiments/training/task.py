"""What is trained on what: all that a comparison needs besides its options."""

from typing import NamedTuple

from experiments.data import load
from experiments.data.dataset import Dataset, first_images, grey, hold_out
from experiments.seeds.compiled import LearnerOf
from experiments.training.options import RunOptions


class Task(NamedTuple):
    """A network on data.

    Attributes:
        title: what is trained on which data.
        notes: what else a summary must say of the settings.
        data: loaded.
        methods: by name; the first is the one others are relative to.
        learner_of: makes a method's learner.
    """

    title: str
    notes: str
    data: Dataset
    methods: tuple[str, ...]
    learner_of: LearnerOf


def load_data(config: RunOptions, *, colour: bool = True) -> Dataset:
    """Loads the data that the options ask for, colour images as grey ones unless `colour`.

    Raises:
        UsageError: As for `experiments.data.load`.
    """
    data = load(config.data, config.data_dir)
    if not colour:
        data = grey(data)
    if config.validation:
        data = hold_out(data)
    return first_images(data, config.images) if config.images else data
