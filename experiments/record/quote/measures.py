"""The registry of measures: numbers of a record, which phrases of pages name."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from experiments.bench.race_table import hit_after, seconds_to
from experiments.record.quote.accuracy_tables import variant
from experiments.record.quote.race_tables import accuracy, find
from experiments.record.quote.reading import PERCENT, accuracies, bench, final, option, read, rows
from experiments.record.quote.speed_tables import speeds
from experiments.runs.statistics import half_interval, paired_difference

Ends = Mapping[str, Callable[[list[float]], float]]
_ENDS: Ends = {
    "median": statistics.median,
    "low": min,
    "high": max,
    "mean": statistics.mean,
    "deviation": statistics.stdev,
}


def mean(here: Path, method: str, column: str = "test_accuracy") -> float:
    """Accuracy of a method, or another column that is a share, in per cent."""
    return statistics.mean(accuracies(here, method, column))


def at_epoch(here: Path, method: str, epoch: str) -> float:
    """The accuracy that a method had after an epoch, in per cent."""
    return PERCENT * statistics.mean(row["test_accuracy"] for row in rows(here, method) if row["epoch"] == int(epoch))


def deviation(here: Path, method: str, column: str = "test_accuracy") -> float:
    """Its standard deviation over seeds."""
    return statistics.stdev(accuracies(here, method, column))


def less(here: Path, method: str, base: str) -> float:
    """How many points a method's accuracy is below another one's."""
    return mean(here, base) - mean(here, method)


def less_half(here: Path, method: str, base: str) -> float:
    """Half the 95 % interval of that, of differences by the seed."""
    found = paired_difference(accuracies(here, method), accuracies(here, base))
    if found is None:
        raise ValueError(f"{here.name} must have several seeds")
    return found.half_interval


def run_seconds(here: Path) -> float:
    """What making the record took."""
    return 3600 * read(here / "record.json")["hours"]


def value(here: Path, file: str, scale: str, *keys: str) -> float:
    """A number in a file of JSON, times a scale; of a list a key is the index, and its mean where it is the number."""
    found = read(here / file)
    for key in keys:
        found = found[int(key)] if isinstance(found, list) else found[key]
    return float(scale) * (statistics.mean(found) if isinstance(found, list) else found)


def quotient(here: Path, file: str, top: str, bottom: str) -> float:
    """Of two numbers in a file of JSON, whose keys are joined by points."""
    return value(here, file, "1", *top.split(".")) / value(here, file, "1", *bottom.split("."))


def over_layers(here: Path, which: str, setting: str, column: str, scale: str) -> float:
    """Of filters that are hashed by a setting, or "any": the "low" or "high" of a column over layers, times a scale."""
    found = read(here / "hashing.json")
    shared = [layer for network in ("untrained", "trained") for layer in found[network]["shared"]]
    columns = [layer[column] for layer in shared if setting in ("any", layer["setting"])]
    return _ENDS[which]([float(scale) * (statistics.mean(c) if isinstance(c, list) else c) for c in columns])


def off(here: Path) -> float:
    """How far the error by depth is from its prediction at most, in per cent."""
    pairs = [
        (measured, predicted)
        for result in read(here / "error_by_depth.json")["results"].values()
        for measured, predicted in zip(result["measured"]["error"]["mean"], result["predicted"]["error"], strict=True)
    ]
    return max(PERCENT * abs(measured / predicted - 1) for measured, predicted in pairs)


def growth(here: Path, name: str) -> float:
    """By how many times the error grows from a layer to the next, the geometric mean."""
    errors = read(here / "error_by_depth.json")["results"][name]["measured"]["error"]["mean"]
    return (errors[-1] / errors[0]) ** (1 / (len(errors) - 1))


def diagnosed(here: Path, method: str, name: str, epoch: str) -> float:
    """A diagnostic of the hidden layer in an epoch, the mean over seeds, in per cent."""
    found = [row["diagnostics"]["hidden"][name] for row in rows(here, method) if row["epoch"] == int(epoch)]
    return PERCENT * statistics.mean(found)


def ended(here: Path, method: str, column: str) -> float:
    """A column of the last rows, the mean over seeds."""
    return statistics.mean(row[column] for row in final(here, method))


def saved(here: Path, method: str, base: str) -> float:
    """What share of another method's training seconds a method saves, in per cent."""
    return PERCENT * (1 - longer(here, method, base))


def longer(here: Path, method: str, base: str) -> float:
    """How many times another method's training seconds a method takes."""
    return ended(here, method, "train_seconds") / ended(here, base, "train_seconds")


def setting(here: Path, name: str) -> float:
    """An option of a run."""
    return option(here, name)


def collapsed(here: Path, name: str, column: str = "test_accuracy") -> float:
    """A variant of `experiments.collapse`, in per cent."""
    return statistics.mean(_variant(here, name, column))


def collapsed_less(here: Path, name: str, base: str) -> float:
    """How many points a variant of `experiments.collapse` is below another one."""
    return collapsed(here, base) - collapsed(here, name)


def collapsed_half(here: Path, name: str, column: str = "test_accuracy") -> float:
    """Half the 95 % interval of that."""
    return half_interval(_variant(here, name, column)) or 0.0


def selected(here: Path, which: str, mode: str, sampler: str) -> float:
    """The "mean" or "deviation" of accuracy, in per cent, by `experiments.choose`; exact training is mode "exact"."""
    found = read(here / "mc_selection.json")["results"]
    (own,) = (r for r in found if ((r["mode"] or r["method"]), r["sampler"] or "") == (mode, sampler))
    return _ENDS[which]([PERCENT * accuracy for accuracy in own["accuracy"]])


def collapse_setting(here: Path, name: str) -> float:
    """An option of `experiments.collapse`."""
    return read(here / "collapse.json")["settings"][name]


def milliseconds(here: Path, *keys: str) -> float:
    """The median of a list of seconds in bench.json."""
    return 1e3 * statistics.median(bench(here, *keys))


def faster(here: Path, which: str, other: str, own: str, *keys: str) -> float:
    """How many times as fast as another: the "median", "low" or "high" over rounds of a bench.json's part."""
    found = bench(here, *keys)
    return _ENDS[which](speeds(found[own], found[other]))


def faster_than_torch(here: Path, ratio: str) -> float:
    """The median over rounds of a forward-sampled step against PyTorch's own, in its better memory format."""
    steps = bench(here, "resnet18", "step_seconds")
    torch = min((t for name, t in steps.items() if name.startswith(f"torch {ratio} ")), key=statistics.median)
    return statistics.median(speeds(steps[f"mc {ratio} forward topk"], torch))


def hit(here: Path, which: str, method: str) -> float:
    """hit@10 of a wide output layer after the race's seconds, in per cent."""
    return PERCENT * _ENDS[which](_hits(here, method))


def hit_ratio(here: Path, method: str, base: str) -> float:
    """Of two of them, the median over seeds."""
    return statistics.median(speeds(_hits(here, base), _hits(here, method)))


def seconds_to_exact(here: Path, method: str) -> float:
    """When it had what exact training has after the race's seconds, the median over seeds."""
    race = bench(here, "wide_race")
    targets = _hits(here, "exact")
    times = [seconds_to(curve, target) for curve, target in zip(race["curves"][method], targets, strict=True)]
    return statistics.median(time for time in times if time is not None)


def raced(here: Path, what: str, task: str, arm: str, budget: str) -> float:
    """Of an arm: its accuracy, the ratio of times or its ends "low" and "high", or what was "predicted"."""
    line = find(here, task, arm, float(budget))
    if what == "accuracy":
        return accuracy(line)
    return line["forecast"][0] if what == "predicted" else line["comparison"][what]


def least_raced(here: Path, task: str, budget: str, *arms: str) -> float:
    """The least ratio of times of several arms."""
    return min(raced(here, "ratio", task, arm, budget) for arm in arms)


def agreed(here: Path, what: str, *others: str) -> float:
    """How many predictions there are, or were "right", in this record and others beside it."""
    return sum(read(path / "race.json")["agreement"][what] for path in (here, *(here.parent / name for name in others)))


def roofline(here: Path, part: str, group: str, name: str) -> float:
    """A program's least seconds on a described chip over those of the first one that it is listed with."""
    found = bench(here, "tpu", part, group)
    return found[name]["seconds"] / next(iter(found.values()))["seconds"]


def roofline_saved(here: Path, part: str, group: str, name: str) -> float:
    """What share of them it saves, in per cent."""
    return PERCENT * (1 - roofline(here, part, group, name))


def _hits(here: Path, method: str) -> list[float]:
    race = bench(here, "wide_race")
    return [hit_after(curve, race["seconds"]) for curve in race["curves"][method]]


def _variant(here: Path, name: str, column: str) -> list[float]:
    return variant(read(here / "collapse.json")["runs"][name]["rows"], column)


MEASURES: Mapping[str, Callable[..., float]] = {
    "mean": mean,
    "at_epoch": at_epoch,
    "deviation": deviation,
    "less": less,
    "less_half": less_half,
    "run_seconds": run_seconds,
    "value": value,
    "quotient": quotient,
    "over_layers": over_layers,
    "off": off,
    "growth": growth,
    "diagnosed": diagnosed,
    "ended": ended,
    "saved": saved,
    "longer": longer,
    "setting": setting,
    "collapsed": collapsed,
    "collapsed_less": collapsed_less,
    "collapsed_half": collapsed_half,
    "selected": selected,
    "collapse_setting": collapse_setting,
    "milliseconds": milliseconds,
    "faster": faster,
    "faster_than_torch": faster_than_torch,
    "hit": hit,
    "hit_ratio": hit_ratio,
    "seconds_to_exact": seconds_to_exact,
    "raced": raced,
    "least_raced": least_raced,
    "agreed": agreed,
    "roofline": roofline,
    "roofline_saved": roofline_saved,
}
"""Functions of a record's directory and the words that a phrase gives."""
