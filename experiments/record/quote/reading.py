"""What records hold, as numbers."""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PERCENT = 100
_EXACT = ("exact", "standard")


def read(path: Path) -> Any:
    """A file of JSON.

    Raises:
        LookupError: if there is none.
    """
    if not path.exists():
        raise LookupError(f"there is no record of {path.parent.name}/{path.name}")
    return json.loads(path.read_text())


def bench(directory: Path, *keys: str) -> Any:
    """An entry of a bench.json."""
    found = read(directory / "bench.json")
    for key in keys:
        found = found[key]
    return found


def options(directory: Path) -> dict[str, Any]:
    """Those of a run, or of the first one in the directory."""
    return read(min(directory.glob("**/config.json"), default=directory / "config.json"))["config"]


def option(directory: Path, name: str) -> Any:
    """The value of an option; of several values the only one. Runs of before that was possible have a single one."""
    found = options(directory)
    value = found[name] if name in found else found[name.removesuffix("s")]
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def rows(directory: Path, method: str) -> list[dict[str, Any]]:
    """The rows of a method in a directory and those within it."""
    return [row for row in _all_rows(directory) if row["method"] == method]


def methods(directory: Path) -> list[str]:
    """All that have rows, exact training first."""
    found = list(dict.fromkeys(row["method"] for row in _all_rows(directory)))
    found.sort(key=lambda method: method not in _EXACT)
    if not found:
        raise LookupError(f"there are no rows in {directory.name}")
    return found


def final(directory: Path, method: str) -> list[dict[str, Any]]:
    """The last row of each seed.

    Raises:
        LookupError: if there are none.
    """
    last = {row["seed"]: row for row in rows(directory, method)}
    if not last:
        raise LookupError(f"{directory.name} has {', '.join(methods(directory))}, not {method}")
    return [last[seed] for seed in sorted(last)]


def accuracies(directory: Path, method: str, column: str = "test_accuracy") -> list[float]:
    """In per cent, by seed; none where the method has none."""
    return [PERCENT * row[column] for row in final(directory, method) if row.get(column) is not None]


def step_seconds(directory: Path, method: str) -> float:
    """The median over epochs, of which the first touches fresh memory."""
    times = [row["step_seconds"] for row in rows(directory, method)]
    return statistics.median(times[1:] or times)


def flops(directory: Path) -> dict[str, float | None]:
    """Of a step, by method; empty where that was not recorded."""
    path = directory / "plans.json"
    return {name: plan[1] for name, plan in read(path).items()} if path.exists() else {}


def _all_rows(directory: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.glob("**/metrics.jsonl")):
        yield from map(json.loads, path.read_text().splitlines())
