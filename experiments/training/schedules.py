"""How the learning rate goes over a run, by name."""

# The options of programs name schedules: this imports optax, and with it JAX, once one is made.
from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import optax

Schedule = Literal["constant", "cosine", "onecycle"]


def learning_rate(schedule: Schedule, peak: float, steps: int) -> optax.ScalarOrSchedule:
    """The rate of each step of a run of so many: constant, decaying to 0, or rising for a quarter of it before that."""
    import optax

    return {
        "constant": lambda: peak,
        "cosine": lambda: optax.cosine_decay_schedule(peak, steps),
        "onecycle": lambda: optax.cosine_onecycle_schedule(max(steps, 2), peak, pct_start=0.25),
    }[schedule]()
