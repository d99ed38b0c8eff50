"""Training in memory: no run directory, screen or checkpoints, just the rows."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.seeds.clock import steps_within
from experiments.seeds.compiled import compile_evaluation, compile_training
from experiments.seeds.planning import choose_axis
from experiments.seeds.segments import chunks, run_chunk
from experiments.seeds.settings import Family
from experiments.training.task import Task


def train_family(family: Family, seeds: Mapping[int, np.ndarray], task: Task) -> list[Any]:
    """All rows of a family, of its options' kind, along the seed axis that they ask for.

    Args:
        family: of the settings.
        seeds: the data of each seed's key, by the seed.
        task: what is trained on what.
    """
    family = dataclasses.replace(family, config=dataclasses.replace(family.config, seeds=len(seeds)))
    axis, _ = choose_axis(family, task)
    training = compile_training(family, task, axis)
    if (seconds := family.config.seconds_to_train) is not None:
        family = family.with_steps(steps_within(seconds, training, family, task))
        training = training.with_steps(family, task)
    evaluation = compile_evaluation(family, task, training)
    train, test = training.axis.put((task.data.train, task.data.test), by_seed=False)
    return [
        row
        for chunk in chunks(family, seeds, training.axis)
        for moment in run_chunk(chunk, training, evaluation, train, test)
        for row in moment.rows
    ]
