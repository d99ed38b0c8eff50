"""After which steps a run is evaluated."""

import numpy as np

_FIRST = 256  # the first evaluation is after about this part of the steps


def evaluation_steps(steps: int, evaluations: int) -> np.ndarray:
    """How many steps lie between one evaluation and the next: `(evaluations,)`, which sum to `steps`.

    The evaluations are in about geometric progression, so that it shows early what is learned early.

    Args:
        steps: at least as many as there are evaluations.
        evaluations: from 1.
    """
    shares = np.geomspace(1 / _FIRST, 1, evaluations) if evaluations > 1 else np.ones(1)
    after = np.arange(evaluations)  # room for a step before each evaluation, and for one after it
    ends = np.clip(np.rint(steps * shares).astype(int), after + 1, steps - after[::-1])
    ends = np.maximum.accumulate(ends - after) + after
    return np.diff(ends, prepend=0)
