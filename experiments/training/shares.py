"""From a share of units or inputs to their number."""


def count_of(share: float, whole: int) -> int:
    """How many a share in (0, 1] of `whole` is, rounded: at least one."""
    return max(1, round(share * whole))
