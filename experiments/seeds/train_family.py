"""Training in memory: no run directory, screen or checkpoints, just the rows."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.seeds.clock import with_steps
from experiments.seeds.compiled import CompiledEvaluation, CompiledTraining, compile_evaluation, compile_training
from experiments.seeds.planning import choose_axis
from experiments.seeds.segments import chunks, run_chunk
from experiments.seeds.settings import Family
from experiments.training.task import Task


class CompiledFamily(NamedTuple):
    """The programs of a family, and the data on the devices."""

    family: Family
    training: CompiledTraining
    evaluation: CompiledEvaluation
    train: Any
    test: Any

    def rows(self, seeds: Mapping[int, np.ndarray]) -> list[Any]:
        """Trains from each of these seeds, given with the data of their keys; the rows, of the options' kind."""
        return [
            row
            for chunk in chunks(self.family, seeds, self.training.axis)
            for moment in run_chunk(chunk, self.training, self.evaluation, self.train, self.test)
            for row in moment.rows
        ]


def compile_family(family: Family, task: Task) -> CompiledFamily:
    """Compiles training and evaluation, along the seed axis that the family's options ask for."""
    axis, _ = choose_axis(family, task)
    training, family = with_steps(compile_training(family, task, axis), family, task)
    evaluation = compile_evaluation(family, task, training)
    return CompiledFamily(
        family, training, evaluation, *training.axis.put((task.data.train, task.data.test), by_seed=False)
    )


def train_family(family: Family, seeds: Mapping[int, np.ndarray], task: Task) -> list[Any]:
    """All rows of a family, of its options' kind, along the seed axis that they ask for.

    Args:
        family: of the settings.
        seeds: the data of each seed's key, by the seed.
        task: what is trained on what.
    """
    family = dataclasses.replace(family, config=dataclasses.replace(family.config, seeds=len(seeds)))
    return compile_family(family, task).rows(seeds)
