"""The settings that a sweep compares: each method with each value of the options that it reads."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from experiments.process.checks import flag
from experiments.training.method import TrainingMethod
from experiments.training.options import RunOptions

_HYPERPARAMETERS = ("lrs",)  # options that change no shape: one program serves all of their values


@dataclasses.dataclass(frozen=True)
class Setting:
    """A method with its values of the swept hyperparameters, by the option's name.

    Where an option has a single value, that is a constant of the program, and no hyperparameter.
    """

    name: str
    hyperparameters: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Family:
    """Settings that one compiled program serves.

    Attributes:
        method: how they train.
        config: the options; of those that the method sweeps, with a single value.
        settings: one or more, of the same hyperparameters.
    """

    method: TrainingMethod
    config: RunOptions
    settings: tuple[Setting, ...]

    def config_with(self, hyperparameters: Mapping[str, Any]) -> RunOptions:
        """The options with these values of the hyperparameters, which may be traced."""
        return _single(self.config, hyperparameters)

    def with_steps(self, steps: int) -> "Family":
        """The family of options with as many steps, instead of seconds."""
        return dataclasses.replace(self, config=self.config.with_steps(steps))

    @property
    def example(self) -> RunOptions:
        """The options of the first setting."""
        return self.config_with(self.settings[0].hyperparameters)

    @property
    def members(self) -> list[tuple[str, int]]:
        """The name of a setting and a seed, for each run."""
        seeds = range(self.config.seed, self.config.seed + self.config.seeds)
        return [(setting.name, seed) for setting in self.settings for seed in seeds]


def families(config: RunOptions, methods: Mapping[str, TrainingMethod]) -> list[Family]:
    """All settings, in the order of `methods` and of the options' values.

    A setting is named by its method, and by its value of each option that has several.

    Raises:
        ValueError: if a method states that it sweeps what is no option of several values.
    """
    for name, method in methods.items():
        for option in method.sweeps:
            if not isinstance(getattr(config, option, None), tuple):
                raise ValueError(f"sweeps of the method {name} must name options of several values, got {option!r}")
    swept = [name for name in _HYPERPARAMETERS if len(getattr(config, name)) > 1]
    result = []
    for name, method in methods.items():
        for values in _products(config, method.sweeps):
            settings = tuple(
                Setting(" ".join([name, *_labels(config, values | hyperparameters)]), hyperparameters)
                for hyperparameters in _products(config, swept)
            )
            result.append(Family(method, _single(config, values), settings))
    return result


def _products(config: RunOptions, names: Any) -> list[dict[str, Any]]:
    """All combinations of the values of these options."""
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(getattr(config, n) for n in names))]


def _labels(config: RunOptions, values: Mapping[str, Any]) -> list[str]:
    """What tells the values apart from others of the same options."""
    return [f"{flag(name)[2:]} {value}" for name, value in values.items() if len(getattr(config, name)) > 1]


def _single(config: RunOptions, values: Mapping[str, Any]) -> RunOptions:
    """The options with a single value of some of them."""
    chosen: dict[str, Any] = {name: (value,) for name, value in values.items()}
    return dataclasses.replace(config, **chosen)
