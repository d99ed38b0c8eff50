"""Shares of a number of things, as whole numbers."""


def count_of(share: float, n: int, least: int = 1) -> int:
    """How many of n things a share in (0, 1] is: at least `least`, at most n."""
    return min(n, max(least, round(share * n)))
