"""What `experiments.race` is asked to do."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.process.checks import check_at_least, check_different, listed, one_of
from experiments.process.errors import UsageError
from experiments.race.tasks import EXACT, TASKS, RaceTask

TRIAL_SEED = 1_000
"""The seed of what is tried before the race, which no run of a race has."""


@dataclasses.dataclass(frozen=True)
class Race:
    """Races methods of training against exact training: accuracy after the same seconds, and what was predicted."""

    tasks: tyro.conf.Positional[tuple[Annotated[str, one_of(TASKS)], ...]] = ("digits",)
    """What to train on what. digits needs no download and takes 4 minutes on 2 cores."""
    arms: tuple[str, ...] = ()
    """The task's arms that race, besides exact (default: all of them)."""
    budgets: tuple[float, ...] = ()
    """Training seconds, in increasing order; a ladder of factor 4 reads well (default: the task's)."""
    seeds: int = 3
    """Runs of each arm with each budget. Seed i has the same first parameters and order of examples in every arm."""
    tune_seconds: float | None = None
    """Training seconds of each trial of a learning rate or batch size (default: the task's)."""
    rounds: int = 5
    """How often each arm's step is timed, in turn with the others'."""
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
    text: Path | None = None
    """The text of the tasks that train on one (default: the help texts that come with Python)."""
    out: Path = Path("race")
    """Directory of the race; what it holds of the same settings is gone on with."""
    until: Literal["calibrate", "tune", "predict", "run"] = "run"
    """The last stage to go through. Only calibrate asks the clock: what comes after it may share the machine."""
    report: bool = False
    """Only write the report of what --out holds."""

    def arms_of(self, task: str) -> list[str]:
        """The names of the arms that race, exact first."""
        return [name for name in TASKS[task].arms if not self.arms or name == EXACT or name in self.arms]

    def budgets_of(self, task: str) -> tuple[float, ...]:
        """The seconds that they race for, in increasing order."""
        return self.budgets or TASKS[task].budgets

    def tune_seconds_of(self, task: str) -> float:
        """The seconds of a trial."""
        return TASKS[task].tune_seconds if self.tune_seconds is None else self.tune_seconds

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_different("tasks", self.tasks)
        for name in self.tasks:
            if name not in TASKS:
                raise UsageError(f"tasks must be of {', '.join(TASKS)}, got {name}")
        for name in self.tasks:
            _check_arms(name, TASKS[name], self.arms)
        if not all(0 < budget < float("inf") for budget in self.budgets) or any(
            later <= sooner for sooner, later in itertools.pairwise(self.budgets)
        ):
            raise UsageError(f"--budgets must be positive numbers in increasing order, got {listed(self.budgets)}")
        check_at_least(1, self, "seeds", "rounds")
        if self.seeds > TRIAL_SEED:
            raise UsageError(f"--seeds must be at most {TRIAL_SEED}, got {self.seeds}")
        if self.tune_seconds is not None and not 0 < self.tune_seconds < float("inf"):
            raise UsageError(f"--tune-seconds must be a positive number, got {self.tune_seconds}")
        if self.text is not None and not self.text.is_file():
            raise UsageError(f"--text must be a file, got {self.text}")
        if self.report and not self.out.is_dir():
            raise UsageError(f"--out must be the directory of a race, got {self.out}")


def _check_arms(name: str, task: RaceTask, arms: tuple[str, ...]) -> None:
    for arm in arms:
        if arm not in task.arms:
            raise UsageError(f"--arms must be of {', '.join(task.arms)} for {name}, got {arm}")
