"""The options of the programs whose training is so many seconds, or steps, rather than passes over the data."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, TypeVar

import tyro

from experiments.process.checks import check_at_least, check_different
from experiments.process.errors import UsageError
from experiments.training.options import RunOptions
from experiments.training.schedules import Schedule

_Self = TypeVar("_Self", bound="TimedOptions")


@dataclasses.dataclass(frozen=True)
class TimedOptions(RunOptions):
    """The options of the programs that train for so many seconds or steps."""

    saves_every_epoch: ClassVar[bool] = False  # evaluations are close together at first

    batch_sizes: Annotated[tuple[int, ...], tyro.conf.arg(name="batch-size")] = (128,)
    """Examples of a step; several for a run of each."""
    schedule: Schedule = "constant"
    """Of the learning rate: constant, decaying to 0 (cosine), or rising before that (onecycle)."""
    seconds: float = 5.0
    """How long each seed is trained: a trial of some seconds says how many steps of a method that is, which plans.json
    keeps."""
    steps: int | None = None
    """Steps of each seed, whatever --seconds."""
    evaluations: int = 16
    """How often the network is evaluated: after steps in about geometric progression, the last at the end."""

    @property
    def batch_size(self) -> int:
        """The only value of `batch_sizes`.

        Raises:
            UsageError: if there are several.
        """
        return self._only("batch_sizes")

    @property
    def epochs(self) -> int:
        return self.evaluations

    @property
    def length(self) -> str:
        return f"{self.seconds:g} s" if self.steps is None else f"{self.steps} steps"

    @property
    def seconds_to_train(self) -> float | None:
        return self.seconds if self.steps is None else None

    @property
    def follows_steps(self) -> bool:
        return self.schedule != "constant"

    def with_steps(self: _Self, steps: int) -> _Self:
        return dataclasses.replace(self, steps=steps)

    def check(self) -> None:
        super().check()
        check_at_least(1, self, "evaluations")
        check_different("batch_sizes", self.batch_sizes)
        if min(self.batch_sizes) < 1:
            raise UsageError(f"--batch-size must be at least 1, got {min(self.batch_sizes)}")
        if self.steps is not None and self.steps < self.evaluations:
            raise UsageError(f"--steps must be at least the number of --evaluations, {self.evaluations}: {self.steps}")
        if not 0 < self.seconds < float("inf"):
            raise UsageError(f"--seconds must be a positive number, got {self.seconds}")
