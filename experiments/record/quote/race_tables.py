"""Tables of races: methods for the same seconds."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.process.markdown import table
from experiments.record.quote.forms import digits, spread
from experiments.record.quote.reading import read

_SHOWN = {"digits": 0.25, "cifar": 60}  # budgets that say most; of other tasks the largest
_CALLED = {
    "exact@1": "exact at batch 1",
    "mc@1": "mc 0.1 at batch 1",
    "alsh@1": "alsh 5 % at batch 1",
    "mc@128": "mc 0.5",
    "sampled": "sampled, 1,024 by Zipf's law",
    "sampled 256": "sampled, 256 by frequency^¾",
}
_SIGNS = {"": "", "at least": "≥ ", "at most": "≤ "}


def races(directories: Sequence[Path]) -> list[str]:
    """Each task's arms with one of its budgets."""
    rows = []
    for here in directories:
        for task, lines in tasks(here).items():
            title = read(here / task / "settings.json")["title"]
            budget = _SHOWN.get(task, max(line["run"]["budget"] for line in lines))
            for line in (line for line in lines if line["run"]["budget"] == budget):
                run = line["run"]
                called = _CALLED.get(run["arm"], run["arm"])
                arm = f"**{title}**: {called}" if line["comparison"] is None else called
                times, predicted = ("", "") if line["comparison"] is None else (measured(line), forecast(line))
                counts = str(run["batch_size"]), f"{budget:g}", f"{run['steps']:,}"
                rows.append((arm, *counts, spread(line["accuracies"], ".1f"), times, predicted))
    head = ("", "batch", "budget (s)", "steps", "accuracy; hit@10 of words (%)", "times as fast", "predicted")
    return table(head, rows)


def tasks(here: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of a race by task."""
    return {task: lines for task, lines in read(here / "race.json").items() if task != "agreement"}


def find(here: Path, task: str, arm: str, budget: float) -> dict[str, Any]:
    """The line of an arm with a budget.

    Raises:
        LookupError: if there is none.
    """
    for line in tasks(here)[task]:
        if (line["run"]["arm"], line["run"]["budget"]) == (arm, budget):
            return line
    raise LookupError(f"{here.name} has no {arm} of {task} with {budget:g} s")


def measured(line: dict[str, Any]) -> str:
    """How many times as fast as exact training, with the interval unless it is a bound."""
    found = line["comparison"]
    ratio = f"{_SIGNS[found['bound']]}{digits(found['ratio'])}"
    return f"{ratio} ({digits(found['low'])} to {digits(found['high'])})" if found["high"] > found["low"] else ratio


def forecast(line: dict[str, Any]) -> str:
    """What was predicted, with its interval."""
    if line["forecast"] is None:
        return ""
    value, low, high = map(digits, line["forecast"])
    return f"{value} ({low} to {high})"


def accuracy(line: dict[str, Any]) -> float:
    """The median over seeds."""
    return statistics.median(line["accuracies"])
