"""Intervals and paired differences, against the textbook's formulas."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.runs.statistics import half_interval, interval, paired_difference

T_TWO = 4.302652729911275  # Student's 97.5 % point of 2 degrees of freedom, from a table


def test_half_the_interval_of_a_mean():
    assert half_interval([1.0, 2.0, 3.0]) == pytest.approx(T_TWO / math.sqrt(3))
    assert half_interval([1.0]) is None
    assert half_interval([5.0, 5.0]) == 0


def test_intervals_as_text():
    assert interval([]) == "" and interval([1.25]) == "1.2"
    assert interval([1.0, 2.0, 3.0]) == "2.0 ± 2.5"


def test_paired_differences():
    """What the pairs have in common plays no part; the p-value is that of t = mean / standard error."""
    rng = np.random.default_rng(0)
    common, differences = 100 * rng.normal(size=3), np.array([1.0, 2.0, 3.0])
    found = paired_difference(common + differences, common)
    assert found.mean == pytest.approx(2) and found.half_interval == pytest.approx(T_TWO / math.sqrt(3))
    assert found.p_value == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), 2))


@pytest.mark.parametrize("own", [[1.0, 2.0, 3.0], [1.1, 2.1, 3.1], [101.1, 102.1, 103.1]])
def test_differences_without_spread_have_no_p_value(own):
    """Though rounding makes 1.1 - 1, 2.1 - 2 and 3.1 - 3 different."""
    found = paired_difference(own, [1.0, 2.0, 3.0])
    assert found.mean == pytest.approx(own[0] - 1) and found.half_interval == 0 and found.p_value is None


def test_one_pair_says_nothing():
    assert paired_difference([1.0], [2.0]) is None
