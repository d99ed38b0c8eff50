"""Tables of accuracies: what training ended with."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.collapse.variants import VARIANTS
from experiments.process.markdown import table
from experiments.record.quote.forms import deviation, digits, label
from experiments.record.quote.reading import PERCENT, accuracies, final, flops, methods, read, step_seconds
from experiments.runs.statistics import interval, paired_difference

_CALLED = {
    "every1": "scored at each step",
    "every10": "every 10",
    "oracle": "oracle: the true top 5 %",
    "paper": "the paper: union with random fill, K 6, L 5",
    "random": "a random 5 %",
    "every step": "rehashed at every step",
    "never": "never rehashed",
}
HASHED = "test_accuracy_hashed"


def accuracy(directories: Sequence[Path]) -> list[str]:
    """Of each method; through the hash where there is one."""
    found = [
        (label(here, name), deviation(accuracies(here, name), " %"), deviation(accuracies(here, name, HASHED), " %"))
        for here in directories
        for name in methods(here)
    ]
    head = ("method", "test accuracy", "through the hash")
    columns = 3 if any(cells[2] for cells in found) else 2
    return table(head[:columns], [cells[:columns] for cells in found])


def cost(directories: Sequence[Path]) -> list[str]:
    """Accuracy, training seconds, and step time and FLOPs over those of the first method."""
    (here,) = directories
    names, of_step = methods(here), flops(here)
    first = names[0]
    rows = []
    for name in names:
        seconds = statistics.mean(row["train_seconds"] for row in final(here, name))
        operations = [_quotient(of_step.get(name), of_step.get(first))]
        step = f"{step_seconds(here, name) / step_seconds(here, first):.2f}"
        rows.append((label(here, name), deviation(accuracies(here, name), " %"), f"{seconds:.0f} s", step, *operations))
    head = ("method", "test accuracy", "training", "step time", "FLOPs")
    columns = len(head) if of_step else len(head) - 1
    return table(head[:columns], [row[:columns] for row in rows])


def paired(directories: Sequence[Path]) -> list[str]:
    """Accuracy with its difference from the first method, seed by seed."""
    (here,) = directories
    names, of_step = methods(here), flops(here)
    base = accuracies(here, names[0])
    rows = []
    for name in names:
        found = paired_difference(accuracies(here, name), base) if name != names[0] else None
        rows.append(
            (
                label(here, name),
                _both_accuracies(here, name),
                "" if found is None else f"{found.mean:.1f} ± {found.half_interval:.1f}",
                "" if found is None or found.p_value is None else digits(found.p_value, 1),
                f"{step_seconds(here, name) / step_seconds(here, names[0]):.2f}",
                _quotient(of_step.get(name), of_step.get(names[0])),
            )
        )
    return table(("", "accuracy", "minus exact, paired", "p", "step time", "FLOPs"), rows)


def beside(directories: Sequence[Path]) -> list[str]:
    """The same methods in two runs, with the difference of the second from the first, seed by seed."""
    first, second = directories
    rows = []
    for name in methods(first):
        values = accuracies(first, name), accuracies(second, name)
        found = paired_difference(values[1], values[0])
        assert found is not None, "there are several seeds"
        rows.append((label(first, name), *map(deviation, values), f"{found.mean:.1f} ± {found.half_interval:.1f}"))
    heads = (_CALLED.get(here.name, here.name) for here in directories)
    return table(("", *heads, "difference, paired"), rows)


def collapse(directories: Sequence[Path]) -> list[str]:
    """All variants: per cent, mean ± half the 95 % interval."""
    (here,) = directories
    runs = read(here / "collapse.json")["runs"]
    return table(
        ("", "evaluated exactly", "through the hash", "recall"),
        [
            (_CALLED.get(name, name), *(interval(variant(runs[name]["rows"], c)) for c in COLUMNS))
            for name in VARIANTS
            if name in runs
        ],
    )


COLUMNS = ("test_accuracy", HASHED, "recall")
"""What a variant of `experiments.collapse` has."""


def variant(rows: Sequence[dict[str, Any]], column: str) -> list[float]:
    """One of its columns by seed, in per cent."""
    if column == "recall":
        return [PERCENT * row["diagnostics"]["hidden"]["recall"] for row in rows if row["diagnostics"]]
    return [PERCENT * row[column] for row in rows if row[column] is not None]


def selection(directories: Sequence[Path]) -> list[str]:
    """Of each sampler and mode, the best first."""
    (here,) = directories
    exact, *sampled = read(here / "mc_selection.json")["results"]
    ordered = [exact, *sorted(sampled, key=lambda result: -statistics.mean(result["accuracy"]))]
    return table(
        ("mode", "sampler", "accuracy", "with the BatchNorm statistics of training"),
        [
            (
                result["mode"] or result["method"],
                result["sampler"] or "",
                *(deviation([PERCENT * a for a in result[c]]) for c in ("accuracy", "accuracy_uncalibrated")),
            )
            for result in ordered
        ],
    )


def depths(directories: Sequence[Path]) -> list[str]:
    """Accuracies by depth, of directories that say how many layers they have; through the hash in a line of its own."""
    layers = [here.name.removeprefix("layers-") for here in directories]
    rows = []
    for name in methods(directories[0]):
        called = label(directories[0], name)
        exact, hashed = ([deviation(accuracies(here, name, c)) for here in directories] for c in COLUMNS[:2])
        rows.append((called, *exact))
        if any(hashed):
            rows.append((f"{called}, through the hash", *hashed))
    return table(("test accuracy (%)", *(f"{n} layer{'s' if n != '1' else ''}" for n in layers)), rows)


def _both_accuracies(here: Path, name: str) -> str:
    """Exact, and through the hash where there is one."""
    hashed = deviation(accuracies(here, name, HASHED), " %")
    return deviation(accuracies(here, name), " %") + (f" (through the hash {hashed})" if hashed else "")


def _quotient(own: float | None, base: float | None) -> str:
    return "" if own is None or base is None else f"{own / base:.2g}"
