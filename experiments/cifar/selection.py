"""Which sampler and mode `mc` should use: what `experiments.choose` measures, and what it recorded."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from experiments.cifar.config import Config
from experiments.cifar.learner import make_task
from experiments.process.environment import environment
from experiments.process.errors import UsageError
from experiments.process.exits import make_output_directory
from experiments.process.files import write_json
from experiments.process.markdown import table
from experiments.runs.compare import check_fits
from experiments.runs.directory import run_path
from experiments.runs.summary import mean_and_deviation
from experiments.seeds.segments import numbered_seeds
from experiments.seeds.settings import families
from experiments.seeds.train_family import train_family

RESULTS = Path(__file__).parents[1] / "results" / "choose" / "mc_selection.json"
_CANDIDATES: tuple[dict[str, Any], ...] = (
    {"mode": "backward", "samplers": ("systematic",)},
    {"mode": "forward", "samplers": ("topk",)},
    {"mode": "forward", "samplers": ("systematic",)},
    {"mode": "straight_through", "samplers": ("topk",)},
    {"mode": "straight_through", "samplers": ("systematic",)},
    {"mode": "backward", "samplers": ("topk",)},
)


def choose(config: Config) -> None:
    """Prints and records the held-out accuracy of `exact` and of each sampler and mode at `--ratio`.

    Raises:
        UsageError: if `--ratio` has several values, `--resume` is given, the data can't be had or is smaller than a
            batch, or `--out` can't be written.
        OutputError: if results can no longer be written.
    """
    if config.resume is not None:
        raise UsageError(f"--resume must be left out: experiments.choose can't go on with a run, got {config.resume}")
    configured = {**dataclasses.asdict(config), "ratio": config.ratio}
    path = run_path(config) / RESULTS.name
    task = make_task(dataclasses.replace(config, validation=True, methods=("exact", "mc")))
    check_fits(config, task)
    make_output_directory(path.parent)
    record: dict[str, Any] = {**environment(), "config": configured, "results": []}
    for candidate in ({}, *_CANDIDATES):
        name = "mc" if candidate else "exact"
        chosen = dataclasses.replace(config, **candidate)
        (family,) = families(chosen, {name: task.methods[name]})
        rows = train_family(family, numbered_seeds(chosen), task)
        rows = [row for row in rows if row.epoch == config.epochs]
        result = {
            "method": name,
            "mode": candidate.get("mode"),
            "sampler": chosen.sampler if candidate else None,
            "accuracy": [row.test_accuracy for row in rows],
            "accuracy_uncalibrated": [row.test_accuracy_uncalibrated for row in rows],
        }
        record["results"].append(result)
        write_json(path, record)
        print(json.dumps(result), flush=True)


def selection_lines(options: Config) -> list[str]:
    """What was recorded on the data of the options, in Markdown: it led to the default sampler and mode of `mc`."""
    record = json.loads(RESULTS.read_text())
    config = record["config"]
    if config["data"] != options.data or "mc" not in options.methods:
        return []
    lines = [
        "## Samplers and modes at equal ratio",
        "",
        f"Accuracy (%) on a held-out tenth of the training set of {config['data']}: width {config['width']},"
        f" {config['epochs']} epoch(s), ratio {config['ratio']}, {config['seeds']} seed(s), recorded by",
        f"`{record['command']}`.",
        "",
    ]
    rows = []
    for result in record["results"]:
        accuracies = (mean_and_deviation([100 * a for a in result[k]]) for k in ("accuracy", "accuracy_uncalibrated"))
        rows.append((result["mode"] or "exact", result["sampler"] or "", *accuracies))
    return [*lines, *table(("mode", "sampler", "accuracy", "with training's BatchNorm statistics"), rows)]
