"""What came out of a race: how many times as fast as exact training an arm was, to an accuracy that both reached."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from experiments.runs.statistics import first_reached, half_interval

Bound = Literal["", "at least", "at most"]


class Outcome(NamedTuple):
    """Of a budget.

    Attributes:
        ratio: seconds of exact training to the common accuracy, over the arm's.
        bound: what is known of the ratio where the better one had that accuracy within its smallest budget already.
    """

    ratio: float
    bound: Bound


def outcome(budgets: Sequence[float], arm: Sequence[float], exact: Sequence[float]) -> Outcome:
    """Compares what an arm and exact training reached in the largest of some budgets.

    The common accuracy is the lower of both. The better one's seconds to it are interpolated between its own budgets;
    the other one's are the budget.

    Args:
        budgets: seconds, in increasing order.
        arm, exact: the accuracies that each of them ended with, by budget.
    """
    common, last = min(arm[-1], exact[-1]), budgets[-1]
    if arm[-1] == exact[-1]:
        return Outcome(1.0, "")
    better = arm if arm[-1] > exact[-1] else exact
    seconds = first_reached(common, budgets, better)
    assert seconds is not None, "the better one ends above the common accuracy"
    ahead = last / seconds
    known = seconds > budgets[0] or better[0] == common
    if better is arm:
        return Outcome(ahead, "" if known else "at least")
    return Outcome(1 / ahead, "" if known else "at most")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An arm with a budget, over seeds.

    Attributes:
        difference: the arm's accuracy minus exact's, mean.
        difference_half: half its 95 % interval; None for a single seed.
        ratio: the `Outcome`'s, of mean accuracies.
        low, high: its 95 % interval: by the jackknife over seeds, unless there is one, and by how far the seconds of a
            step can be told, in which budgets were counted. A bound's is the ratio itself.
        bound: the `Outcome`'s.
        known: whether the ratio is more than a sign: that of the smallest budget is not.
    """

    difference: float
    difference_half: float | None
    ratio: float
    low: float
    high: float
    bound: Bound
    known: bool

    @property
    def pays(self) -> bool:
        """Whether the arm ended above exact training."""
        return self.difference > 0


def compare(
    budgets: Sequence[float],
    arm: Sequence[Sequence[float]],
    exact: Sequence[Sequence[float]],
    step_seconds: Sequence[Sequence[float]],
) -> Comparison:
    """Compares over paired seeds what was reached in the largest of some budgets.

    Args:
        budgets: seconds, in increasing order.
        arm, exact: of each seed, the accuracies that it ended with, by budget.
        step_seconds: of both, as they were timed in turn, by round.
    """
    curves, seeds = np.stack([arm, exact]), len(arm)
    differences = (curves[0, :, -1] - curves[1, :, -1]).tolist()
    found, half = outcome(budgets, *curves.mean(1)), _clock_half(*step_seconds)
    if found.bound:
        half = 0.0
    elif seeds > 1:
        without = [np.delete(curves, seed, 1).mean(1) for seed in range(seeds)]
        logs = [math.log(outcome(budgets, *means).ratio) for means in without]
        of_seeds = float(stats.t.ppf(0.975, seeds - 1) * (seeds - 1) / math.sqrt(seeds) * statistics.stdev(logs))
        half = math.hypot(half, of_seeds)
    mean = math.log(found.ratio)
    return Comparison(
        statistics.mean(differences),
        half_interval(differences),
        found.ratio,
        math.exp(mean - half),
        math.exp(mean + half),
        found.bound,
        known=len(budgets) > 1,
    )


def _clock_half(arm: Sequence[float], exact: Sequence[float]) -> float:
    """Half the 95 % interval of the logarithm of the ratio of both steps' seconds, which are medians over rounds.

    An arm whose step is taken for shorter than it is trains for longer than its budget, in just that ratio.
    """
    logs = [math.log(a / b) for a, b in zip(arm, exact, strict=False)]  # a resumed race may have timed one more often
    if len(logs) < 2:
        return 0.0
    of_median = math.sqrt(math.pi / 2 / len(logs))  # the standard error, in standard deviations of normal errors
    return float(stats.t.ppf(0.975, len(logs) - 1)) * of_median * statistics.stdev(logs)
