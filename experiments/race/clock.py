"""The clock of a race: seconds of a step as they were calibrated, and budgets of seconds as steps."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.process.errors import UsageError
from experiments.race.record import Record
from experiments.race.tasks import Arm
from jaxapprox.efficiency import StepTime


class Clock:
    """What calibration has found.

    Args:
        arms: by name.
        record: after `calibrate`.
    """

    def __init__(self, arms: Mapping[str, Arm], record: Record):
        self._arms, self._record = arms, record

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
        line = self._record.calibration.get(program=self._arms[arm].program, batch_size=batch_size)
        assert line is not None, f"{arm} with batches of {batch_size} was not calibrated"
        return line
