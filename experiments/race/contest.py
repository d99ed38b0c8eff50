"""A task as the arms train on it: its data, and the options and programs of an arm."""

import dataclasses
import math
import pkgutil
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.race.config import Race
from experiments.race.tasks import EXACT, TASKS, Arm
from experiments.seeds.settings import Family, families
from experiments.training.image_options import ImageOptions
from experiments.training.images import steps_per_epoch
from experiments.training.options import RunOptions
from experiments.training.rows import Measure
from experiments.training.task import Task, chosen_methods


class Choice(NamedTuple):
    """What is chosen for each arm by itself."""

    batch_size: int
    lr: float


class Contest:
    """A task with its data loaded.

    Attributes:
        arms: those that race, by name.
        task: the network and the data.

    Args:
        name: of the task.
        options: of the race.
        held_out: whether it is for trials, which never look at what the race is judged by.

    Raises:
        UsageError: if the data can't be had.
    """

    def __init__(self, name: str, options: Race, *, held_out: bool):
        own = TASKS[name]
        self.arms = {arm: own.arms[arm] for arm in options.arms_of(name)}
        shared = {**own.options, **{read: getattr(options, read) for read in own.reads}}
        trial = "trial-" if held_out else ""
        shared |= {option: options.out / name / f"{trial}{file}" for option, file in own.keeps.items()}
        if held_out:
            shared |= own.held_out
        program = pkgutil.resolve_name(own.program)
        self._config: RunOptions = program(**{**shared, **self.arms[EXACT].changes, "seed_axis": "map"})
        self.task: Task = pkgutil.resolve_name(self._config.task)(self._config)

    @property
    def measure(self) -> Measure:
        """What arms are compared by."""
        return self._config.row.measures[0]

    def family(
        self, arm: str, batch_size: int, rates: Sequence[float], steps: int | None = None, seed: int = 0
    ) -> Family:
        """How an arm trains, with each of these learning rates, so many steps that its schedule ends with them.

        Args:
            arm: its name.
            batch_size: of it.
            rates: learning rates.
            steps: None where it does not matter.
            seed: the only one.
        """
        changes = {**self.arms[arm].changes, "lrs": tuple(rates), "seed": seed}
        sizes = {"batch_size": batch_size} if _is_field(self._config, "batch_size") else {"batch_sizes": (batch_size,)}
        config = dataclasses.replace(self._config, **{**changes, **sizes})
        config.check()
        if steps is not None:
            config = self._with_steps(config, steps)
        (family,) = families(config, chosen_methods(config))
        return family

    def _with_steps(self, config: RunOptions, steps: int) -> RunOptions:
        if not isinstance(config, ImageOptions):
            return config.with_steps(steps)
        epochs = math.ceil(steps / steps_per_epoch(config, self.task.data))
        return dataclasses.replace(config, steps=steps, epochs=epochs)


def batch_sizes(arms: dict[str, Arm], name: str) -> tuple[int, ...]:
    """All that an arm could come to train with; the first is what it is tuned with."""
    arm = arms[name]
    return arm.batch_sizes if arm.half_of is None else tuple(size // 2 for size in batch_sizes(arms, arm.half_of))


def _is_field(config: Any, name: str) -> bool:
    return name in {field.name for field in dataclasses.fields(config)}
