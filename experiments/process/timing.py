"""Wall time of calls."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call, until the arrays that it returns are ready."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def paired(slow: Callable[[], Any], fast: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Times two functions in turn, after one call of each.

    Args:
        slow: its time is the numerator.
        fast: its time is the denominator.
        rounds: how often each is timed.

    Returns:
        Median seconds of both, as `seconds` and `reference_seconds`; the median of their ratios round by round, as
        `ratio`, with the least and the largest of them.
    """
    for function in (slow, fast):
        seconds(function)
    times = np.array([(seconds(slow), seconds(fast)) for _ in range(rounds)])
    ratios = times[:, 0] / times[:, 1]
    return {
        "seconds": float(np.median(times[:, 0])),
        "reference_seconds": float(np.median(times[:, 1])),
        "ratio": float(np.median(ratios)),
        "ratio_min": float(np.min(ratios)),
        "ratio_max": float(np.max(ratios)),
    }
