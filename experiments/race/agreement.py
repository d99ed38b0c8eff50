"""How well what was predicted agrees with what came out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.race.outcome import Comparison

_RESAMPLES = 1_000


class Agreement(NamedTuple):
    """How well predictions and outcomes agree.

    Attributes:
        predictions: how many there are.
        right: how many of them said rightly whether the arm pays.
        ranked: how many outcomes are more than a sign.
        correlation: Spearman's, of the predicted and the measured ratios of these; NaN for less than two.
        interval: its 95 % interval, by bootstrap over arms.
        within: the same correlation of ranks within each task.
        within_interval: of it.
    """

    predictions: int
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
    correlations, within = np.array(resampled).reshape(-1, 2).T
    return Agreement(
        len(triples),
        sum((triple.predicted > 1) == triple.measured.pays for triple in triples),
        len(ranked),
        rank_correlation(predicted, measured),
        _interval(correlations),
        rank_correlation(predicted, measured, tasks),
        _interval(within),
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


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles, without NaNs."""
    kept = resampled[~np.isnan(resampled)]
    return (float(np.quantile(kept, 0.025)), float(np.quantile(kept, 0.975))) if kept.size else (math.nan, math.nan)
