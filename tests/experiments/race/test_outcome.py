"""How arms are compared: by hand, and against slow NumPy."""

import itertools
import math

import numpy as np
import pytest

from experiments.race.agreement import Triple, agreement, rank_correlation
from experiments.race.outcome import Comparison, Outcome, compare, outcome
from experiments.race.prediction import Forecast
from experiments.race.report import said

BUDGETS = (1.0, 4.0, 16.0)


@pytest.mark.parametrize(
    ("arm", "exact", "expected"),
    [
        # Exact's 80 % lie halfway between 70 and 90 %: the arm had them after 8 s, the middle of 4 and 16 by logarithm.
        ((50, 70, 90), (40, 60, 80), Outcome(2, "")),
        ((40, 60, 80), (50, 70, 90), Outcome(1 / 2, "")),
        ((80, 85, 90), (40, 60, 80), Outcome(16, "")),  # at its smallest budget, and not before
        ((81, 85, 90), (40, 60, 80), Outcome(16, "at least")),
        ((40, 60, 80), (81, 85, 90), Outcome(1 / 16, "at most")),
        ((70,), (60,), Outcome(1, "at least")),
        ((60,), (70,), Outcome(1, "at most")),
        ((60,), (60,), Outcome(1, "")),
        ((50, 60, 70), (65, 66, 70), Outcome(1, "")),
    ],
)
def test_outcome_by_hand(arm, exact, expected):
    found = outcome(BUDGETS[: len(arm)], arm, exact)
    assert found.ratio == pytest.approx(expected.ratio) and found.bound == expected.bound


def test_outcome_is_symmetric():
    """Who is called exact only turns the ratio over."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = rng.uniform(10, 90, (2, 3))
        forth, back = outcome(BUDGETS, one, other), outcome(BUDGETS, other, one)
        assert forth.ratio * back.ratio == pytest.approx(1)
        assert {forth.bound, back.bound} in ({""}, {"at least", "at most"})


def test_comparison_over_seeds():
    """Ratio of mean accuracies; the jackknife's interval, by its formula."""
    arm, exact = [(50, 70, 90), (52, 71, 88), (47, 70, 91)], [(40, 60, 80), (42, 63, 80), (39, 62, 83)]
    found = compare(BUDGETS, arm, exact, ([], []))
    assert found.difference == pytest.approx(np.mean([10, 8, 8])) and found.pays and found.known
    assert found.ratio == pytest.approx(outcome(BUDGETS, np.mean(arm, 0), np.mean(exact, 0)).ratio)
    logs = []
    for left_out in range(3):
        kept = [seed for seed in range(3) if seed != left_out]
        means = [[sum(curves[s][b] for s in kept) / 2 for b in range(3)] for curves in (arm, exact)]
        logs.append(math.log(outcome(BUDGETS, *means).ratio))
    error = math.sqrt(2 / 3 * sum((log - sum(logs) / 3) ** 2 for log in logs))
    assert math.log(found.high / found.ratio) == pytest.approx(4.302653 * error)  # Student's, 2 degrees of freedom
    assert found.low * found.high == pytest.approx(found.ratio**2)


def test_a_single_seed_has_no_interval():
    found = compare((1.0,), [(50,)], [(60,)], ([2.0], [3.0]))
    assert (found.ratio, found.low, found.high, found.bound) == (1, 1, 1, "at most")
    assert not found.pays and not found.known and found.difference_half is None


def test_the_interval_has_the_clock_s_error():
    """Of arms that are exact training in all but name, timed by a noisy clock, the ratio's interval has 1 in it."""
    rng, held, tries, rounds = np.random.default_rng(2), 0, 400, 7
    for _ in range(tries):
        timed = np.exp(rng.normal(0, 0.15, (2, rounds)))
        steps = np.array(BUDGETS)[:, None] / np.median(timed, 1)  # of the arm and of exact training
        arm, exact = (50 + 10 * np.log2(steps)).T
        found = compare(BUDGETS, [arm], [exact], timed)
        assert found.low < found.ratio < found.high
        held += found.low <= 1 <= found.high
    assert held > 0.9 * tries  # of 95 % on average; below it once in 10,000 times, were they just that
    seeds = compare(BUDGETS, [arm, arm + 1, arm], [exact, exact, exact], ([], []))
    both = compare(BUDGETS, [arm, arm + 1, arm], [exact, exact, exact], timed)
    widths = [math.log(each.high / each.ratio) for each in (found, seeds)]
    assert math.log(both.high / both.ratio) == pytest.approx(math.hypot(*widths))


def slow_ranks(values):
    return np.array([sum(v < u for v in values) + (sum(v == u for v in values) + 1) / 2 for u in values])


def test_rank_correlation_is_spearman_s():
    """With ties; and within groups, where what sets the groups apart counts for nothing."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 6, (2, 20)).astype(float)
    expected = np.corrcoef(slow_ranks(x), slow_ranks(y))[0, 1]
    assert rank_correlation(x, y) == pytest.approx(expected)
    groups = np.repeat(["a", "b"], 10)
    assert rank_correlation(x, y, np.full(20, "a")) == pytest.approx(expected)
    parts = [np.stack([slow_ranks(v[groups == g]) - 5.5 for v in (x, y)]) for g in "ab"]
    both = np.concatenate(parts, axis=1)
    expected = both[0] @ both[1] / np.sqrt((both[0] @ both[0]) * (both[1] @ both[1]))
    assert rank_correlation(x, y, groups) == pytest.approx(expected)
    assert rank_correlation(x + 100 * (groups == "b"), y, groups) == pytest.approx(expected)
    assert math.isnan(rank_correlation(x, np.ones(20)))


def triples(predicted_of):
    """Of two tasks with three arms each and two budgets, the smaller of which has a sign alone."""
    for task, arm, budget in itertools.product("st", range(1, 4), (1.0, 4.0)):
        ratio = 2.0 ** (arm - 2) * 1.1
        measured = Comparison(ratio - 1, None, ratio if budget > 1 else 1.0, ratio, ratio, "", budget > 1)
        yield Triple(task, str(arm), budget, predicted_of(task, ratio), measured)


def test_agreement():
    perfect = agreement(list(triples(lambda task, ratio: ratio**2)))
    assert perfect.predictions == perfect.right == 12 and perfect.ranked == 6
    assert perfect.correlation == pytest.approx(1) and perfect.within == pytest.approx(1)
    assert perfect.interval == pytest.approx((1, 1))
    wrong = agreement(list(triples(lambda task, ratio: 1 / ratio)))
    assert wrong.right == 0 and wrong.correlation == pytest.approx(-1)
    by_task = agreement(list(triples(lambda task, ratio: 1.5 if task == "s" else 0.5)))
    assert by_task.right == 6 and math.isnan(by_task.within)
    few = agreement(list(triples(lambda task, ratio: ratio))[:1])
    assert math.isnan(few.correlation) and "nan" not in said(few) and "too few" in said(few)
    assert "1.00 (1.00 to 1.00); of ranks within tasks 1.00" in said(perfect)
    assert "within" not in said(by_task) and "nan" not in said(by_task)


def test_forecast_is_a_harmonic_mean_over_seconds():
    """Between states the inverse goes straight; after the last it stays."""
    states = [
        {"seconds": 0.0, "value": 2.0, "low": 1.0, "high": 4.0},
        {"seconds": 1.0, "value": 1.0, "low": 1.0, "high": 1.0},
    ]
    assert Forecast.of(states, 1).value == pytest.approx(1 / 0.75)
    assert Forecast.of(states, 4).value == pytest.approx(4 / (0.75 + 3), rel=1e-3)
    assert Forecast.of(states, 1).low == pytest.approx(1) and Forecast.of(states, 1).high == pytest.approx(1 / 0.625)
    assert Forecast.of(states[1:], 10) == pytest.approx((1, 1, 1))
