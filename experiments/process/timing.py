"""Wall time of calls."""

import time
from collections.abc import Callable

import jax
import numpy as np


def seconds(function: Callable[[], jax.Array]) -> float:
    """Wall time of one call, its result ready."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def paired(slow: Callable, fast: Callable, rounds: int) -> dict[str, float]:
    """Median seconds of both, taken in turn after a warm-up, and the median of their ratios round by round."""
    for function in (slow, fast):
        seconds(function)
    times = np.array([(seconds(slow), seconds(fast)) for _ in range(rounds)])
    return {
        "seconds": float(np.median(times[:, 0])),
        "reference_seconds": float(np.median(times[:, 1])),
        "ratio": float(np.median(times[:, 0] / times[:, 1])),
        "ratio_min": float(np.min(times[:, 0] / times[:, 1])),
        "ratio_max": float(np.max(times[:, 0] / times[:, 1])),
    }
