"""The settings that a sweep compares: each method with each value of the options that it heeds."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.training.options import RunOptions

_NUMBERS = {"lrs": "lr"}  # they change no shape: one program serves all of their values
_SHAPES = {"ratios": "ratio", "samplers": "sampler"}
_SAMPLED = ("mc", "mc_backward")


@dataclasses.dataclass(frozen=True)
class Setting:
    """A method with its numbers: `{"lrs": 0.1}`, or none where there is one value of each and it is a constant."""

    name: str
    numbers: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Family:
    """Settings that one compiled program serves.

    Attributes:
        method: by name.
        config: with one value of each option, but for the settings' numbers.
        settings: one or more, with the same names of numbers.
    """

    method: str
    config: RunOptions
    settings: tuple[Setting, ...]


def families(config: RunOptions, methods: Sequence[str]) -> list[Family]:
    """All settings, in the order of `methods` and of the options' values; names tell apart what several values do."""
    swept = {field: getattr(config, field) for field in _NUMBERS if len(getattr(config, field)) > 1}
    result = []
    for method in methods:
        shapes = _SHAPES if method in _SAMPLED else {}
        for values in itertools.product(*(getattr(config, field) for field in shapes)):
            chosen = {field: (value,) for field, value in zip(shapes, values, strict=True)}
            varied = [f"{_SHAPES[f]} {v[0]}" for f, v in chosen.items() if len(getattr(config, f)) > 1]
            settings = tuple(
                Setting(
                    " ".join([method, *varied, *(f"{_NUMBERS[f]} {v}" for f, v in zip(swept, numbers, strict=True))]),
                    dict(zip(swept, numbers, strict=True)),
                )
                for numbers in itertools.product(*swept.values())
            )
            one_each = {field: getattr(config, field)[:1] for field in _SHAPES} | chosen
            result.append(Family(method, dataclasses.replace(config, **one_each), settings))
    return result


def with_numbers(config: RunOptions, numbers: Mapping[str, Any]) -> RunOptions:
    """`config` with these numbers, which may be traced."""
    chosen: dict[str, Any] = {name: (value,) for name, value in numbers.items()}
    return dataclasses.replace(config, **chosen)
