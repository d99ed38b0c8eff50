"""How values are written in tables, and what methods are called there."""

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from experiments.record.quote.reading import option

NOTHING = "\N{EN DASH}"
"""In the place of a number that there is none of."""

_LEAST_EXPONENT = -3


def deviation(values: Sequence[float], unit: str = "") -> str:
    """Mean ± standard deviation; the mean alone of a single value, and nothing of none."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}{unit}"


def spread(values: Sequence[float], form: str = "") -> str:
    """The median with the range of several values; two digits of each, or as a format says."""

    def said(value: float) -> str:
        return f"{value:{form}}" if form else digits(value)

    median = said(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({said(min(values))} to {said(max(values))})"


def digits(value: float, count: int = 2) -> str:
    """So many significant digits; an exponent only if the value is very small."""
    mantissa, exponent = f"{value:.{count - 1}e}".split("e")
    if value and int(exponent) < _LEAST_EXPONENT:
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.{max(0, count - 1 - int(exponent))}f}"


def label(directory: Path, method: str) -> str:
    """A setting's name with the options that say what it is."""
    name, *chosen = re.split(r" (?=ratio|sampler)", method)
    named = dict(part.split(" ", 1) for part in chosen)
    if name == "mc":
        ratio = named.get("ratio") or f"{option(directory, 'ratios')}"
        how = _option(directory, "mode", "forward"), named.get("sampler") or option(directory, "samplers")
        return f"mc {ratio}, {', '.join(how)}"
    if name == "alsh":
        return f"alsh, {100 * option(directory, 'active'):g} %"
    if name == "dropout":
        return f"dropout {option(directory, 'dropout_rate')}"
    return name.replace("_", " ")


def _option(directory: Path, name: str, default: str) -> str:
    try:
        return option(directory, name)
    except KeyError:
        return default
