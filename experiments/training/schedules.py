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

    def onecycle() -> optax.Schedule:
        of_one = optax.cosine_onecycle_schedule(max(steps, 2), 1.0, pct_start=0.25)  # before 0.2.6 not of a traced peak
        return lambda count: peak * of_one(count)

    return {
        "constant": lambda: peak,
        "cosine": lambda: optax.cosine_decay_schedule(peak, steps),
        "onecycle": onecycle,
    }[schedule]()
