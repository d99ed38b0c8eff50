"""What the meter's efficiencies along exact training say of a whole run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_POINTS = 1_001


class Forecast(NamedTuple):
    """Seconds of exact training, over an arm's, for the same progress.

    Attributes:
        value: as predicted.
        low, high: by the ends of the efficiencies' 95 % intervals.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    @classmethod
    def of(cls, states: Sequence[dict[str, Any]], budget: float) -> "Forecast":
        """The harmonic mean of efficiencies over exact training's seconds.

        Args:
            states: on exact training's way, each with the `seconds` until it, in increasing order, and the efficiency
                there: `value`, `low` and `high`.
            budget: seconds; after the last state the efficiency is taken to stay as it is.
        """
        seconds = [state["seconds"] for state in states]
        at = np.linspace(0, budget, _POINTS)
        inverse = {
            name: np.interp(at, seconds, [1 / max(state[name], _LEAST) for state in states]) for name in cls._fields
        }
        return cls(*(float(1 / np.mean(inverse[name])) for name in cls._fields))


_LEAST = 1e-6  # an efficiency that can't be told from none
