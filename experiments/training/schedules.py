"""How the learning rate goes over a run, by name."""

from typing import Literal

import optax

Schedule = Literal["constant", "cosine", "onecycle"]


def learning_rate(schedule: Schedule, peak: float, steps: int) -> optax.ScalarOrSchedule:
    """The rate of each step of a run of so many: constant, decaying to 0, or rising for a quarter of it before that."""
    return {
        "constant": lambda: peak,
        "cosine": lambda: optax.cosine_decay_schedule(peak, steps),
        "onecycle": lambda: optax.cosine_onecycle_schedule(max(steps, 2), peak, pct_start=0.25),
    }[schedule]()
