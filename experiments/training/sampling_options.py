"""The options that say how sums are sampled."""

from collections.abc import Collection

from experiments.process.checks import check_different, check_names
from experiments.process.errors import UsageError
from jaxapprox.registry import SAMPLERS


def check_sampling(ratios: Collection[float], samplers: Collection[str]) -> None:
    """Raises a UsageError unless the values of `--ratio` and `--sampler` are different ones that there are."""
    check_different("ratios", ratios)
    check_different("samplers", samplers)
    check_names("samplers", samplers, SAMPLERS)
    for ratio in ratios:
        if not 0 < ratio <= 1:
            raise UsageError(f"--ratio must be in (0, 1], got {ratio}")
