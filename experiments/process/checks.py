"""Checks of options that several programs share; the messages name the option as the command line does."""

from typing import Any

from experiments.process.errors import UsageError


def listed(values: tuple[Any, ...]) -> str:
    """An option's values, for the reader."""
    return " ".join(map(str, values))


def flag(name: str) -> str:
    """The command line's name of an option."""
    return "--" + {"ratios": "ratio", "samplers": "sampler", "lrs": "lr"}.get(name, name).replace("_", "-")


def check_different(name: str, values: tuple[Any, ...]) -> None:
    """Raises a UsageError unless an option of several values has one or more, all different."""
    if not values or len(set(values)) < len(values):
        raise UsageError(f"{flag(name)} must be one or more different ones, got {listed(values) or 'none'}")


def check_at_least(least: int, options: Any, *names: str) -> None:
    """Raises a UsageError for the first of these attributes of `options` that is less than `least`."""
    for name in names:
        if getattr(options, name) < least:
            raise UsageError(f"{flag(name)} must be at least {least}, got {getattr(options, name)}")


def check_share(options: Any, *names: str) -> None:
    """Raises a UsageError for the first of these attributes of `options` that is not in (0, 1]."""
    for name in names:
        if not 0 < getattr(options, name) <= 1:
            raise UsageError(f"{flag(name)} must be in (0, 1], got {getattr(options, name)}")
