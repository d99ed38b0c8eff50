"""The only clock of a race: what a step of each arm takes. All that follows counts steps."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.process.errors import UsageError
from experiments.process.timing import seconds
from experiments.race.contest import Contest, batch_sizes
from experiments.race.record import Record
from experiments.seeds.axis import SeedAxis
from experiments.seeds.clock import step_seconds
from experiments.seeds.compiled import CompiledTraining, compile_evaluation, compile_training
from experiments.seeds.segments import chunks, numbered_seeds
from experiments.seeds.settings import Family
from experiments.training.task import Task
from jaxapprox.efficiency import StepTime

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


class Clock:
    """What calibration has found.

    Args:
        contest: names the arms.
        record: after `calibrate`.
    """

    def __init__(self, contest: Contest, record: Record):
        self._contest, self._record = contest, record

    def step_seconds(self, arm: str, batch_size: int) -> float:
        """The median over rounds."""
        return statistics.median(self.times(arm, batch_size))

    def times(self, arm: str, batch_size: int) -> list[float]:
        """Seconds of a step, round by round."""
        return self._line(arm, batch_size)["step_seconds"]

    def step_time(self, arm: str, batch_sizes: Sequence[int]) -> StepTime:
        """Seconds of a step as a fixed part and one for each example, of what was timed at these sizes.

        At a single size all of it is fixed.
        """
        times = np.array([self.times(arm, size) for size in batch_sizes])
        if len(times) > 1:
            return StepTime.fit(batch_sizes, times.T)
        (each,) = times
        left_out = tuple((float(np.median(np.delete(each, i))), 0.0) for i in range(len(each)) if len(each) > 1)
        return StepTime(float(np.median(each)), 0.0, left_out)

    def steps(self, arm: str, batch_size: int, budget: float) -> int:
        """How many steps a budget of seconds is, what comes after the last one paid.

        Raises:
            UsageError: if it is none.
        """
        each, end = self.step_seconds(arm, batch_size), self._line(arm, batch_size)["end_seconds"]
        steps = int((budget - end) / each)
        if steps < 1:
            after = f" and {end:.2g} s after the last" if end else ""
            raise UsageError(
                f"--budgets and --tune-seconds must be at least a step's seconds: of {arm} with batches of"
                f" {batch_size}, {each:.2g} s{after}, got {budget:g}"
            )
        return steps

    def _line(self, arm: str, batch_size: int) -> dict[str, Any]:
        line = self._record.calibration.get(program=self._contest.arms[arm].program, batch_size=batch_size)
        assert line is not None, f"{arm} with batches of {batch_size} was not calibrated"
        return line


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
