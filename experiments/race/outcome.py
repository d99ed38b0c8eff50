"""What came out of a race: how many times as fast as exact training an arm was, to an accuracy that both reached."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from experiments.runs.statistics import first_reached, half_interval

_RESAMPLES = 2_000

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
        return Outcome(1.0, "" if len(budgets) > 1 else "at least")
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
        low, high: its 95 % interval, by the jackknife over seeds; the ratio itself for a single seed.
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


def compare(budgets: Sequence[float], arm: Sequence[Sequence[float]], exact: Sequence[Sequence[float]]) -> Comparison:
    """Compares over paired seeds what was reached in the largest of some budgets.

    Args:
        budgets: seconds, in increasing order.
        arm, exact: of each seed, the accuracies that it ended with, by budget.
    """
    curves, seeds = np.stack([arm, exact]), len(arm)
    differences = (curves[0, :, -1] - curves[1, :, -1]).tolist()
    found, half = outcome(budgets, *curves.mean(1)), 0.0
    if seeds > 1:
        without = [np.delete(curves, seed, 1).mean(1) for seed in range(seeds)]
        logs = [math.log(outcome(budgets, *means).ratio) for means in without]
        half = float(stats.t.ppf(0.975, seeds - 1) * (seeds - 1) / math.sqrt(seeds) * statistics.stdev(logs))
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


class Agreement(NamedTuple):
    """How well predictions and outcomes agree.

    Attributes:
        count: of predictions.
        right: how many of them said rightly whether the arm pays.
        ranked: how many outcomes are more than a sign.
        correlation: Spearman's, of the predicted and the measured ratios of these; NaN for less than two.
        interval: its 95 % interval, by bootstrap over arms.
        within: the same correlation of ranks within each task.
        within_interval: of it.
    """

    count: int
    right: int
    ranked: int
    correlation: float
    interval: tuple[float, float]
    within: float
    within_interval: tuple[float, float]


class Triple(NamedTuple):
    """A task, an arm and a budget, with what was predicted and what came."""

    task: str
    arm: str
    budget: float
    predicted: float
    measured: Comparison


def agreement(triples: Sequence[Triple]) -> Agreement:
    """Compares predictions with outcomes."""
    ranked = [triple for triple in triples if triple.measured.known]
    predicted = np.array([triple.predicted for triple in ranked])
    measured = np.array([triple.measured.ratio for triple in ranked])
    tasks = np.array([triple.task for triple in ranked])
    arms = np.array([f"{triple.task} {triple.arm}" for triple in ranked])
    rng, resampled = np.random.default_rng(0), []
    names = np.unique(arms)
    members = {name: np.flatnonzero(arms == name) for name in names}
    for _ in range(_RESAMPLES if len(names) > 1 else 0):
        index = np.concatenate([members[name] for name in rng.choice(names, len(names))])
        own = predicted[index], measured[index]
        resampled.append((rank_correlation(*own), rank_correlation(*own, tasks[index])))
    (low, within_low), (high, within_high) = _interval(np.array(resampled).reshape(-1, 2))
    return Agreement(
        len(triples),
        sum((triple.predicted > 1) == triple.measured.pays for triple in triples),
        len(ranked),
        rank_correlation(predicted, measured),
        (low, high),
        rank_correlation(predicted, measured, tasks),
        (within_low, within_high),
    )


def rank_correlation(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Spearman's rank correlation; NaN where either does not vary.

    Args:
        x, y: `(n,)`.
        groups: `(n,)`; ranks are then those within each group, less their mean, over the group's size.
    """
    groups = np.zeros(len(x)) if groups is None else groups
    ranks = np.zeros((2, len(x)))
    for group in np.unique(groups):
        own = groups == group
        within = stats.rankdata(np.stack([x[own], y[own]]), axis=1)
        ranks[:, own] = (within - within.mean(1, keepdims=True)) / own.sum()
    covariance = ranks @ ranks.T
    scale = math.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(covariance[0, 1] / scale) if scale else math.nan


def _interval(resampled: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """The 2.5 % and 97.5 % quantiles of both columns, without NaNs."""
    kept = [column[~np.isnan(column)] for column in resampled.T]
    low, high = zip(*(np.quantile(c, (0.025, 0.975)) if c.size else (math.nan, math.nan) for c in kept), strict=True)
    return tuple(map(float, low)), tuple(map(float, high))
