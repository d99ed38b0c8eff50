"""Training with no run directory, screen or checkpoints: just the rows."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.data.dataset import Dataset
from experiments.seeds.compiled import LearnerOf, compile_evaluation
from experiments.seeds.planning import make_plan
from experiments.seeds.segments import Row, chunks, run_chunk
from experiments.seeds.settings import Family


def train_family(family: Family, seeds: Mapping[int, np.ndarray], learner_of: LearnerOf, data: Dataset) -> list[Row]:
    """All rows of a family, along the seed axis that its options ask for.

    Args:
        family: of the settings.
        seeds: the raw key of each, by its number.
        learner_of: makes a method's learner.
        data: loaded.
    """
    family = dataclasses.replace(family, config=dataclasses.replace(family.config, seeds=len(seeds)))
    _, training = make_plan(family, learner_of, data)
    evaluation = compile_evaluation(family, learner_of, data, training)
    train, test = training.axis.put((data.train, data.test), by_seed=False)
    return [
        row
        for chunk in chunks(family, seeds, training.axis)
        for moment in run_chunk(chunk, training, evaluation, train, test)
        for row in moment.rows
    ]
