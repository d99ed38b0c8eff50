"""The only clock of a race: what a step of each arm takes. All that follows counts steps."""

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from experiments.process.timing import seconds
from experiments.race.contest import Contest, batch_sizes
from experiments.race.record import Record
from experiments.seeds.axis import SeedAxis
from experiments.seeds.clock import step_seconds
from experiments.seeds.compiled import CompiledTraining, compile_evaluation, compile_training
from experiments.seeds.segments import chunks, numbered_seeds
from experiments.seeds.settings import Family
from experiments.training.task import Task

_ROUND_SECONDS = 0.5  # of a program in a round
_STEPS = 10_000  # that there are to time


class Timed(NamedTuple):
    """A compiled program that is timed: with what it is kept by."""

    program: str
    batch_size: int
    family: Family
    training: CompiledTraining


def calibrate(contest: Contest, record: Record, rounds: int) -> None:
    """Times the step of every arm at each batch size that it could choose, in turn, and what comes after the last step.

    Args:
        contest: on all of the data.
        record: what it holds already is not measured again.
        rounds: how often each is timed.
    """
    axis, task = SeedAxis("map", 1), contest.task
    missing = [
        Timed(program, size, family, compile_training(family, task, axis))
        for program, size, family in _programs(contest)
        if record.calibration.get(program=program, batch_size=size) is None
    ]
    steps: list[list[float]] = [[] for _ in missing]
    for _ in range(rounds):
        for one, times in zip(missing, steps, strict=True):
            times.append(step_seconds(one.training, one.family, task, seconds=_ROUND_SECONDS))
    ends = [_end_seconds(one, task, rounds) for one in missing]
    for one, times, end in zip(missing, steps, ends, strict=True):
        key = {"program": one.program, "batch_size": one.batch_size}
        record.calibration.add({**key, "step_seconds": times, "end_seconds": end})


def _programs(contest: Contest) -> Iterator[tuple[str, int, Family]]:
    """All programs that arms could run, each once."""
    seen = set()
    for name, arm in contest.arms.items():
        for size in batch_sizes(contest.arms, name):
            key = arm.program, size
            if key not in seen:
                seen.add(key)
                yield *key, contest.family(name, size, (1e-4,), _STEPS)


def _end_seconds(one: Timed, task: Task, rounds: int) -> float:
    """The seconds of re-estimating BatchNorm's statistics, where the arm does."""
    if one.training.one.learner.recalibrate is None:
        return 0.0
    evaluation = compile_evaluation(one.family, task, one.training)
    recalibrate, axis = evaluation.recalibrate, one.training.axis
    assert recalibrate is not None
    (chunk,) = chunks(one.family, numbered_seeds(one.family.config), axis)
    state = one.training.init(chunk.hyperparameters, chunk.keys)
    arguments = (axis.put(chunk.hyperparameters, by_seed=True), state, axis.put(task.data.train, by_seed=False))
    return statistics.median(seconds(lambda: recalibrate(*arguments)) for _ in range(rounds))
