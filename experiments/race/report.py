"""What a race comes to, by what was recorded: race.md, race.json and figures."""

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.process.files import write_json, write_whole
from experiments.process.markdown import table
from experiments.race.agreement import Agreement, Triple, agreement
from experiments.race.clock import Clock
from experiments.race.figure import draw_accuracies, draw_predictions
from experiments.race.outcome import Comparison, compare
from experiments.race.prediction import Forecast
from experiments.race.record import Record
from experiments.race.tasks import EXACT, TASKS, Arm


@dataclasses.dataclass(frozen=True)
class Line:
    """An arm with a budget.

    Attributes:
        run: a run of it, for its batch size, rate and steps.
        accuracies: of the seeds.
        comparison: with exact training; None for that itself.
        forecast: what was predicted; None if nothing was.
    """

    run: dict[str, Any]
    accuracies: list[float]
    comparison: Comparison | None
    forecast: Forecast | None


def write_report(out: Path) -> None:
    """Writes the report of all tasks in the directory of a race, and prints its tables.

    Raises:
        OutputError: if it can't be written.
    """
    lines, triples = ["# Races against exact training", "", *_HOW, ""], []
    facts: dict[str, Any] = {}
    for task in (name for name in TASKS if (out / name / "runs.jsonl").exists()):
        record = Record(out / task)
        settings, found = record.settings or {}, lines_of(record, TASKS[task].arms)
        lines += [f"## {task}: {settings['title']}", "", *_table(settings["measure"], found), ""]
        facts[task] = [dataclasses.asdict(line) for line in found]
        accuracies: dict[str, dict[float, list[float]]] = {}
        for line in found:
            accuracies.setdefault(line.run["arm"], {})[line.run["budget"]] = line.accuracies
            if line.comparison and line.forecast:
                run = line.run
                triples.append(Triple(task, run["arm"], run["budget"], line.forecast.value, line.comparison))
        draw_accuracies(settings["title"], settings["measure"], accuracies, out / task / "accuracy.png")
    if triples:
        agreed = agreement(triples)
        lines += ["## Predictions", "", said(agreed), ""]
        facts["agreement"] = agreed._asdict()
        draw_predictions(triples, out / "predictions.png")
    write_whole(out / "race.md", "\n".join(lines))
    write_json(out / "race.json", json.loads(json.dumps(facts), parse_constant=lambda name: None))  # JSON has no NaN
    print("\n".join(lines))


def lines_of(record: Record, arms: Mapping[str, Arm]) -> list[Line]:
    """A line for each arm with each budget that has run, of the seeds of it and of exact training."""
    runs = {(run["arm"], run["budget"], run["seed"]): run for run in record.runs.all()}
    ran, budgets = (list(dict.fromkeys(run[name] for run in runs.values())) for name in ("arm", "budget"))
    budgets.sort()
    clock, found = Clock(arms, record), []
    for arm in ran:
        for i, budget in enumerate(budgets):
            until = budgets[: i + 1]
            own = [seed for seed in _seeds(runs) if (arm, budget, seed) in runs]
            both = [seed for seed in own if all((a, b, seed) in runs for a in (arm, EXACT) for b in until)]
            if not own:
                continue

            def curves(of: str, both=both, until=until) -> list[list[float]]:
                return [[runs[of, b, seed]["accuracy"] for b in until] for seed in both]

            comparison = None
            if both and arm != EXACT:
                timed = [clock.times(of, runs[of, budget, both[0]]["batch_size"]) for of in (arm, EXACT)]
                comparison = compare(until, curves(arm), curves(EXACT), timed)
            states = record.predictions.get(arm)
            accuracies = [runs[arm, budget, seed]["accuracy"] for seed in own]
            forecast = Forecast.of(states, budget) if states else None
            found.append(Line(runs[arm, budget, own[0]], accuracies, comparison, forecast))
    return found


_HOW = (
    "Every arm is trained for each budget of seconds by itself, with a schedule that ends with it. Budgets are counted"
    " in steps, by the seconds of a step that calibration measured; all that an arm needs is charged. Learning rates,"
    " and batch sizes where an arm may choose, were tuned on held-out data. Accuracy: median over seeds and range."
    " Difference: from exact training, mean over paired seeds and half its 95 % interval. Times as fast: seconds to the"
    " lower of both mean accuracies, exact's over the arm's, with its 95 % interval (jackknife over seeds, and how far"
    " the seconds of a step can be told); ≥ and ≤ where the better one had it within its smallest budget. Predicted: by"
    " the meter, before the first run.",
)


def _table(measure: str, lines: Sequence[Line]) -> list[str]:
    head = (
        "arm",
        "batch",
        "rate",
        "budget (s)",
        "steps",
        "seeds",
        measure,
        "minus exact",
        "times as fast",
        "predicted",
    )
    return table(head, [_cells(line) for line in lines])


def _cells(line: Line) -> list[str]:
    run, values = line.run, line.accuracies
    accuracy = f"{statistics.median(values):.2f}"
    if len(values) > 1:
        accuracy += f" ({min(values):.2f} to {max(values):.2f})"
    difference = ratio = ""
    if (found := line.comparison) is not None:
        difference = f"{found.difference:+.2f}"
        if found.difference_half is not None:
            difference += f" ± {found.difference_half:.2f}"
        sign = {"": "", "at least": "≥ ", "at most": "≤ "}[found.bound]
        ratio = f"{sign}{found.ratio:.3g}"
        if found.high > found.low:
            ratio += f" ({found.low:.3g} to {found.high:.3g})"
    predicted = "" if line.forecast is None else str(line.forecast)
    return [
        run["arm"],
        str(run["batch_size"]),
        f"{run['lr']:g}",
        f"{run['budget']:g}",
        str(run["steps"]),
        str(len(values)),
        accuracy,
        difference,
        ratio,
        predicted,
    ]


def _seeds(runs: dict[tuple[str, float, int], Any]) -> list[int]:
    return sorted({seed for _, _, seed in runs})


def said(agreed: Agreement) -> str:
    """How well predictions and outcomes agree, in words."""

    def correlated(value: float, interval: tuple[float, float]) -> str:
        return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"

    found = f"Whether an arm pays was predicted rightly {agreed.right} times of {agreed.predictions}."
    if any(map(math.isnan, agreed.interval)):
        return f"{found} There are too few ratios to rank."
    found += (
        f" The rank correlation (Spearman) of predicted and measured ratios, of the {agreed.ranked} that are more than"
        f" a sign, is {correlated(agreed.correlation, agreed.interval)}"
    )
    if not any(map(math.isnan, agreed.within_interval)):
        found += f"; of ranks within tasks {correlated(agreed.within, agreed.within_interval)}"
    return f"{found} (95 % intervals by bootstrap over arms)."
