"""Tables of speed: seconds of steps, measured in turn."""

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

from experiments.bench.race_table import hit_after, seconds_to
from experiments.process.markdown import table
from experiments.record.quote.forms import NOTHING, digits, spread
from experiments.record.quote.reading import PERCENT, bench

_NEVER = "never"
_CALLED = {
    "standard": "standard (our exact step)",
    "dropout_gathered": "dropout, gathered",
    "adaptive_dropout": "adaptive dropout",
    "adaptive_dropout_gathered": "adaptive dropout, gathered",
    "alsh": "alsh 5 %",
    "mc": "mc 0.1, forward",
    "mc_backward": "mc 0.1, backward",
    "torch": "PyTorch, default",
    "torch, fused": "PyTorch, `fused=True`",
    "resnet18": "ResNet-18, width 16, CIFAR-10",
    "mlp": "MLP of 3 x 1,000, batch 1, MNIST",
    "exact": "exact, in blocks",
    "sampled": "sampled, 1,024 by Zipf's law",
    "sampled, 256 by frequency": "sampled, 256 by frequency^¾",
    "hashed": "hashed: 1,024 by Zipf's law, up to 256 hits",
    "torch full": "PyTorch, full softmax",
    "torch adaptive": "PyTorch, `AdaptiveLogSoftmaxWithLoss` (2,000, 10,000, 30,000)",
}


def speeds(times: Sequence[float], reference: Sequence[float]) -> list[float]:
    """How many times as fast as the reference, by round."""
    return [r / t for t, r in zip(times, reference, strict=True)]


def mlp_steps(directories: Sequence[Path]) -> list[str]:
    """How many times as fast as plain Flax, and as our exact step, steps at batch 1 are, at two depths."""
    (here,) = directories
    found = bench(here, "mlp_step_seconds")
    pairs = list(itertools.product(("flax", "standard"), ("SGD", "Adam")))
    depths = [setting.split()[0] for setting in found if setting.endswith(" sgd")]
    names = {"flax": "plain Flax", "standard": "our exact step"}
    rows = []
    for method in (name for name in found["3 sgd"] if name != "flax"):
        cells = [_CALLED.get(method, method)]
        for base, optimizer in pairs:
            ratios = []
            for layers in depths:
                times = found[f"{layers} {optimizer.lower()}"]
                ratios.append(digits(statistics.median(speeds(times[method], times[base]))))
            cells.append("1" if method == base else " / ".join(ratios))
        rows.append(cells)
    head = [f"{names[base]}, {optimizer}, {' / '.join(depths)} layers" for base, optimizer in pairs]
    return table(("time of → over that of ↓", *head), rows)


def convolutions(directories: Sequence[Path]) -> list[str]:
    """Steps of ResNet-18 against exact ones, plain Flax and PyTorch."""
    (here,) = directories
    steps, flops = bench(here, "resnet18", "step_seconds"), bench(here, "resnet18", "flops")
    rate, batch = bench(here, "matrix_product_flops_per_second"), 128
    rows = []
    for name in (name for name in steps if name.startswith(("exact", "mc"))):
        times = steps[name]
        against = [f"{statistics.median(speeds(times, steps[base])):.2f}" for base in ("exact", "flax")]
        torch = _torch(name, steps)
        share = statistics.median(flops[name] / rate / t for t in times)
        rows.append(
            (
                name.replace(" ", ", ").replace("mc, ", "mc "),
                f"{batch / statistics.median(times):.1f}",
                *against,
                NOTHING if torch is None else spread(speeds(times, torch), ".2f"),
                f"{PERCENT * share:.0f} %",
            )
        )
    head = ("", "images / s", "÷ exact", "÷ plain Flax", "÷ PyTorch", "share of the bound")
    return table(head, rows)


def _torch(name: str, steps: dict[str, list[float]]) -> list[float] | None:
    """PyTorch's seconds for the same share of channels, in its better memory format; it has no backward form."""
    ratio = "1.0" if name == "exact" else name.split()[1]
    formats = [times for other, times in steps.items() if other.startswith(f"torch {ratio} ")]
    return min(formats, key=statistics.median) if formats and not name.endswith("systematic") else None


def wide_race(directories: Sequence[Path]) -> list[str]:
    """What wide output layers learn in the same seconds: medians over seeds, with ranges."""
    (here,) = directories
    race = bench(here, "wide_race")
    exact, seconds = race["curves"]["exact"], race["seconds"]
    targets = [hit_after(curve, seconds) for curve in exact]
    rows = []
    for name, curves in race["curves"].items():
        hits = [hit_after(curve, seconds) for curve in curves]
        times = [seconds_to(curve, target) for curve, target in zip(curves, targets, strict=True)]
        base = [seconds_to(curve, target) or seconds for curve, target in zip(exact, targets, strict=True)]
        setting = race["settings"][name]
        rows.append(
            (
                _CALLED[name],
                str(setting["batch_size"]),
                f"{setting['lr']:g}",
                f"{round(statistics.median(curve[-1]['steps'] for curve in curves)):,}",
                spread([PERCENT * hit for hit in hits], ".1f"),
                "1" if name == "exact" else digits(statistics.median(speeds(targets, hits))),
                *_reached(name, times, base, seconds),
            )
        )
    head = ("", "batch", "rate", "steps", f"hit@10 (%) after {seconds:g} s", "÷ exact's")
    return table((*head, f"s to what exact has after {seconds:g} s", "exact ÷ it"), rows)


def _reached(name: str, times: Sequence[float | None], exact: Sequence[float], seconds: float) -> tuple[str, str]:
    """When it had what exact training has at the end, and how many times as fast that is."""
    known = [time for time in times if time is not None]
    if name == "exact":
        return f"{seconds:g}", "1"
    return (spread(known), spread(speeds(known, exact))) if len(known) == len(times) else (_NEVER, "")


def wide_steps(directories: Sequence[Path]) -> list[str]:
    """A step of a wide output layer."""
    (here,) = directories
    ((_, found),) = bench(here, "wide_steps").items()
    temporaries = bench(here, "wide_temporaries")
    rows = []
    for name, times in found["seconds"].items():
        against = "1" if name == "exact" else spread(speeds(times, found["seconds"]["exact"]))
        memory = f"{temporaries[name]:,.0f} MB" if name in temporaries else ""
        if (rehash := temporaries.get(f"{name}, rehash")) is not None:
            memory += f", {rehash:.0f} MB of a rehash"
        rows.append((_CALLED[name], digits(1e3 * statistics.median(times), 3), against, memory))
    return table(("", "ms", "exact ÷ it", "temporaries, 1,000,000 classes"), rows)


def wide_sizes(directories: Sequence[Path]) -> list[str]:
    """Steps of wide output layers by the number of classes and the batch: milliseconds, and sampled ones' speed."""
    (here,) = directories
    found = [(setting.split(), measured["seconds"]) for setting, measured in bench(here, "wide_steps").items()]
    names = list(dict.fromkeys(name for _, seconds in found for name in seconds))
    peers = [name for name in names if name.startswith("torch")]
    rows = []
    for (classes, batch), seconds in found:
        times = [digits(1e3 * statistics.median(seconds[name]), 3) if name in seconds else NOTHING for name in names]
        best = min((seconds[name] for name in peers if name in seconds), key=statistics.median, default=None)
        against = [seconds["exact"], *([best] if peers else [])]
        quotients = [NOTHING if base is None else spread(speeds(seconds["sampled"], base)) for base in against]
        rows.append((f"{int(classes):,}", f"{int(batch):,}", *times, *quotients))
    heads = (f"{name.replace('torch', 'PyTorch,')}, ms" for name in names)
    return table(("classes", "batch", *heads, "exact ÷ sampled", *(["PyTorch ÷ sampled"] if peers else [])), rows)


def transformer(directories: Sequence[Path]) -> list[str]:
    """A transformer's step with kernel gradients from samples, and with checkpoints."""
    (here,) = directories
    found = bench(here, "transformer")
    exact, memory = found["step_seconds"]["exact"], found["temporary_bytes"]
    rows = []
    for name, times in found["step_seconds"].items():
        noise = found["added_variance"].get(name.partition(",")[0].removeprefix("kernel "), ())
        efficiency = found["efficiency"].get(name)
        rows.append(
            (
                name,
                f"{1e3 * statistics.median(times):.0f}",
                "1" if name == "exact" else spread(speeds(times, exact), ".2f"),
                f"{found['flops'][name] / found['flops']['exact']:.2f}",
                f"{memory[name] / 2**20:.0f}",
                f"{memory[name] / memory['exact']:.2f}",
                *([f"{value:.2f}" for value, _ in noise] or ["", ""]),
                "" if efficiency is None else "{:.2f} ({:.2f} to {:.2f})".format(*efficiency),
            )
        )
    return table(("step", "ms", "speed", "FLOPs", "MiB", "/ exact", "a", "c", "efficiency"), rows)


def seeds_per_hour(directories: Sequence[Path]) -> list[str]:
    """Seeds of both networks, in turn and at once, with the cost of a seed over that of one alone."""
    (here,) = directories
    found = bench(here, "sweep")
    counts = list(next(iter(found.values()))["seconds"]["map"])
    rows = []
    for count in counts:
        cells = [count]
        for network in found.values():
            alone = network["seconds"]["map"]["1"]
            for axis in ("map", "vmap"):
                times = network["seconds"][axis].get(count)
                if times is None:
                    cells.append("")
                    continue
                per_hour = 3600 * int(count) / statistics.median(times) * network["steps"] / network["full_epoch"]
                cost = statistics.median(t / int(count) / one for t, one in zip(times, alone, strict=True))
                cells.append(f"{per_hour:,.1f} ({'1' if count == '1' else f'{cost:.2f}'})")
        rows.append(cells)
    head = [title for name in found for title in (f"{_CALLED[name]}: map", "vmap")]
    return table(("seeds", *head), rows)


def hashed_layers(directories: Sequence[Path]) -> list[str]:
    """How many times as fast as exact layers hashed ones are."""
    (here,) = directories
    rows = []
    for key, layer in _HASHED.items():
        found = bench(here, key)
        ratio, low, high = (digits(found[name]) for name in ("ratio", "ratio_min", "ratio_max"))
        rows.append((layer, f"{ratio} ({low} to {high})"))
    return table(("", "exact ÷ hashed"), rows)


_HASHED = {
    "exact_over_hashed_layer_by_rows": "1,000 → 1,000, batch 1, 5 % active, `jaxapprox.active_rows`",
    "exact_over_hashed_layer_by_rows_gradients_alone": "the same, output and gradients without the step",
    "exact_over_hashed_layer_by_autodiff": "the same with the step, `ALSHDense` (gathered) by autodiff",
    "exact_over_hashed_output_layer": (
        "128 → 670,000, batch 128, 0.5 % active, softmax over the active units, `jaxapprox.active_rows`"
    ),
}
