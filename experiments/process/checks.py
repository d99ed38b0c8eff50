"""Checks of a program's options: each refuses a value in one line that names its flag, and what it must be."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tyro.constructors import PrimitiveConstructorSpec

from experiments.process.errors import UsageError

# Flags that are named for a single value.
_SINGULAR = {
    "ratios": "ratio",
    "samplers": "sampler",
    "lrs": "lr",
    "proposals": "proposal",
    "batch_sizes": "batch_size",
    "budgets": "budget",
}


def one_of(names: Iterable[str]) -> PrimitiveConstructorSpec[str]:
    """The type of an option that takes a name; `--help` lists these, and `check_names` refuses others.

    Args:
        names: such as those of a registry.
    """
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(names)}}}",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    )


def flag(name: str) -> str:
    """The command line's name of an option."""
    return "--" + _SINGULAR.get(name, name).replace("_", "-")


def listed(values: Iterable[Any]) -> str:
    """The values of an option, as they are written on a command line."""
    return " ".join(map(str, values))


def check_names(option: str, values: Iterable[str], known: Mapping[str, Any]) -> None:
    """Raises a UsageError for the first of the values that is not among the known names."""
    for value in values:
        if value not in known:
            raise UsageError(f"{flag(option)} must be of {', '.join(known)}, got {value}")


def check_different(option: str, values: Collection[Any]) -> None:
    """Raises a UsageError unless an option of several values has one or more, all different."""
    if not values or len(set(values)) < len(values):
        raise UsageError(f"{flag(option)} must be one or more different ones, got {listed(values) or 'none'}")


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
