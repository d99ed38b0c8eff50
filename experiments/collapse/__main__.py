"""Why did ALSH-approx collapse to 10.3 % (Table 3)? The same network and seeds, one ingredient changed at a time.

    python -m experiments.collapse --width 16 --epochs 3 --images 50000

Every variant is evaluated exactly, as in the paper, and through its own hash.
"""

import dataclasses
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Literal

import jax
import tyro
from matplotlib.figure import Figure

from experiments.cifar.config import Config
from experiments.cifar.learner import cnn_learner
from experiments.collapse.variants import VARIANTS
from experiments.data import load
from experiments.data.dataset import first_images
from experiments.process.environment import environment
from experiments.process.errors import UsageError
from experiments.process.exits import output_directory, run
from experiments.runs.statistics import half_interval, interval
from experiments.seeds.segments import numbered_seeds
from experiments.seeds.settings import families
from experiments.seeds.unattended import train_family
from experiments.training.loop import Learner


@dataclasses.dataclass(frozen=True)
class Collapse:
    """Trains the paper's CNN with one ingredient of ALSH-approx changed at a time."""

    data: Literal["digits", "mnist", "cifar10"] = "cifar10"
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
    images: int = 10_000
    """Training images, the first of the data; all where there are fewer."""
    width: int = 8
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage."""
    epochs: int = 3
    seeds: int = 3
    seed: int = 0
    """The first seed."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Which to train; all by default."""
    out: Path = Path("collapse")
    """Directory for collapse.json, collapse.md and collapse.png; what it holds of other variants is kept."""


def main(collapse: Collapse) -> int:
    """Trains the variants, writes the results after each, and returns the exit code.

    Raises:
        UsageError: if a value is out of its range, `--out` holds results of other settings, or can't be written.
    """
    unknown = [name for name in collapse.variants if name not in VARIANTS]
    if unknown or not collapse.variants:
        raise UsageError(f"--variants must be of {'; '.join(VARIANTS)}, got {'; '.join(unknown) or 'none'}")
    if collapse.images < Config.batch_size:
        raise UsageError(f"--images must be at least {Config.batch_size}, got {collapse.images}")
    shared = {name: getattr(collapse, name) for name in ("data", "width", "blocks", "epochs", "seeds", "seed")}
    Config(**shared).check()
    data = first_images(load(collapse.data, collapse.data_dir), collapse.images)
    on_cpu = jax.default_backend() == "cpu"

    def learner_of(name: str, config: Config) -> Learner:
        return cnn_learner(config, VARIANTS[name].method(config), data)

    results = _Results(collapse.out, {**shared, "blocks": list(collapse.blocks), "images": len(data.train.labels)})
    try:
        for name in collapse.variants:
            config = Config(**shared, **VARIANTS[name].settings, seed_axis="map" if on_cpu else "vmap")
            rows = train_family(families(config, (name,))[0], numbered_seeds(config), learner_of, data)
            results.add(name, [dataclasses.asdict(row) for row in rows if row.epoch == config.epochs])
            print(results.line(name), flush=True)
    except KeyboardInterrupt:
        print(f"interrupted: the variants done are kept in {collapse.out}", file=sys.stderr)
        return 130
    return 0


class _Results:
    """Last epochs by variant, on disk."""

    def __init__(self, path: Path, settings: dict[str, Any]):
        self._path = path
        self._record: dict[str, Any] = {"settings": settings, "runs": {}}
        file = path / "collapse.json"
        with output_directory(path):
            if not file.exists():
                file.write_text(json.dumps(self._record) + "\n")
            before = file.read_text()
        try:
            self._record = json.loads(before)
        except ValueError as error:
            raise UsageError(f"--out must hold no damaged collapse.json, got {path} ({error})") from error
        if self._record["settings"] != settings:
            raise UsageError(f"--out must be a directory for {settings}, got {path}, of {self._record['settings']}")

    def add(self, name: str, rows: list[dict[str, Any]]) -> None:
        runs = {**self._record["runs"], name: {**environment(), "rows": rows}}
        self._record["runs"] = {known: runs[known] for known in VARIANTS if known in runs}
        new = self._path / "collapse.json.new"
        new.write_text(json.dumps(self._record, indent=1) + "\n")
        new.replace(self._path / "collapse.json")
        (self._path / "collapse.md").write_text(self._table())
        self._plot()

    def values(self, name: str, column: str) -> list[float]:
        """A column of the variant's rows, by seed, in per cent; empty where the variant has none."""
        rows = self._record["runs"][name]["rows"]
        if column == "difference":
            reference = VARIANTS[name].reference
            if name == reference or reference not in self._record["runs"]:
                return []
            pairs = zip(self.values(name, "test_accuracy"), self.values(reference, "test_accuracy"), strict=True)
            return [own - exact for own, exact in pairs]
        if column == "recall":
            return [100 * row["diagnostics"]["hidden"]["recall"] for row in rows if row["diagnostics"]]
        return [100 * row[column] for row in rows if row[column] is not None]

    def line(self, name: str) -> str:
        cells = (interval(self.values(name, column)) for column in _COLUMNS)
        return f"| {VARIANTS[name].ingredient} | {name} | {' | '.join(cells)} |"

    def _table(self) -> str:
        settings = self._record["settings"]
        head = [
            "# ALSH-approx, one ingredient at a time",
            "",
            f"{settings['data']}, {settings['images']} training images, residual blocks"
            f" {settings['blocks']}, width {settings['width']},"
            f" {settings['epochs']} epochs, {settings['seeds']} seed(s).",
            "",
            "Per cent, mean ± half the 95 % interval of the mean (Student). Minus exact: by the seed, at"
            " batch 1 from exact at batch 1. Recall of the true top units: mean over the last epoch.",
            "",
            f"| ingredient | variant | {' | '.join(_COLUMNS.values())} |",
            "|---" * (2 + len(_COLUMNS)) + "|",
        ]
        return "\n".join([*head, *map(self.line, self._record["runs"]), ""])

    def _plot(self) -> None:
        """Accuracy against recall, evaluated exactly and through the hash, with error bars over seeds."""
        figure = Figure(figsize=(12, 5), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        runs = self._record["runs"]
        for axes, column in zip(panels, ("test_accuracy", "test_accuracy_hashed"), strict=True):
            for name in runs:
                recall, accuracy = self.values(name, "recall"), self.values(name, column)
                if recall and accuracy:
                    ingredient = VARIANTS[name].ingredient
                    same = [other for other in VARIANTS if VARIANTS[other].ingredient == ingredient]
                    axes.errorbar(
                        statistics.mean(recall),
                        statistics.mean(accuracy),
                        yerr=half_interval(accuracy),
                        fmt="osD^v"[same.index(name)],
                        color=f"C{_INGREDIENTS.index(ingredient)}",
                        capsize=2,
                        label=name,
                    )
            for name, style in (("exact", "-"), ("exact, batch 1", ":")):
                if name in runs:
                    axes.axhline(statistics.mean(self.values(name, "test_accuracy")), ls=style, color="0.4", label=name)
            axes.axhline(10.3, ls="--", color="0.7", label="the paper's 10.3 %")
            axes.set(xlabel="recall of the true top units (%)", xscale="log", title=_COLUMNS[column])
            axes.set_xticks(_RECALLS, map(str, _RECALLS))
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("test accuracy (%)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
        figure.savefig(self._path / "collapse.png", dpi=150)


_RECALLS = (0.5, 1, 2, 5, 10, 20, 50, 100)
_INGREDIENTS = list(dict.fromkeys(variant.ingredient for variant in VARIANTS.values()))
_COLUMNS = {
    "test_accuracy": "evaluated exactly",
    "difference": "minus exact",
    "test_accuracy_hashed": "evaluated through the hash",
    "recall": "recall",
}


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Collapse, prog="python -m experiments.collapse")))
