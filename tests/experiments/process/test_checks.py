"""Checks that several programs share."""

from types import SimpleNamespace

import pytest

from experiments.process.checks import check_at_least, check_different, check_share, flag, listed
from experiments.process.errors import UsageError


def test_flags_are_those_of_the_command_line():
    assert [flag(name) for name in ("lrs", "ratios", "samplers", "batch_size")] == [
        "--lr",
        "--ratio",
        "--sampler",
        "--batch-size",
    ]
    assert listed((0.5, "a")) == "0.5 a"


@pytest.mark.parametrize("bad", [0.0, -1.0, 1.5, float("nan")])
def test_shares(bad):
    check_share(SimpleNamespace(active=1.0, ratio=0.01), "active", "ratio")
    with pytest.raises(UsageError, match=rf"^--active must be in \(0, 1\], got {bad}$"):
        check_share(SimpleNamespace(active=bad), "active")


def test_least_values():
    check_at_least(1, SimpleNamespace(a=1, b=2), "a", "b")
    with pytest.raises(UsageError, match=r"^--num-draws must be at least 1, got 0$"):
        check_at_least(1, SimpleNamespace(width=3, num_draws=0), "width", "num_draws")


@pytest.mark.parametrize(("values", "got"), [((), "none"), ((1, 1), "1 1")])
def test_different_values(values, got):
    check_different("lrs", (1, 2))
    with pytest.raises(UsageError, match=rf"^--lr must be one or more different ones, got {got}$"):
        check_different("lrs", values)
