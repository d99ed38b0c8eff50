"""Sweeps of a ResNet-18 compiled for a described TPU: many seeds on one chip, and split over all of them."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console

from experiments.bench.chip_variants import CHIP_VARIANTS, SWEPT
from experiments.bench.options import Bench
from experiments.bench.random_data import random_cifar
from experiments.bench.seeds import only_family
from experiments.bench.tpu_counts import Counted, cells, counted, table
from experiments.cifar.config import Config
from experiments.cifar.learner import cnn_learner
from experiments.compiler.topology import Topology
from experiments.seeds.axis import SeedAxis, make_mesh
from experiments.seeds.compiled import lower_segment
from experiments.seeds.dry_run import STEP_DEPTH
from experiments.seeds.settings import Family
from experiments.training.task import Task

_IMAGES, _WIDTH = 50_000, 16  # those of CIFAR-10, which lie on each chip


def measure_sweeps(options: Bench, topology: Topology) -> dict[str, dict[str, Counted]]:
    """The counts of a step of all seeds, by variant, and by seed axis and number of seeds."""
    found: dict[str, dict[str, Counted]] = {}
    for variant in (name for name in options.chip_variants if name in SWEPT):
        family, task = _family(*CHIP_VARIANTS[variant])
        for name, axis in _axes(options, topology, family.config.batch_size):
            lowered = lower_segment(family, task, axis)
            found.setdefault(variant, {})[name] = counted(lowered, topology, depth=STEP_DEPTH)
    return found


def show_sweeps(results: dict[str, dict[str, Counted]], console: Console) -> None:
    """Prints a table of counts, against those of a single seed."""
    rows = table(
        f"ResNet-18, width {_WIDTH}, batch {Config.batch_size}: a step of all seeds of a chip",
        "variant",
        "seeds",
        against="one",
    )
    for variant, by_axis in results.items():
        for name, found in by_axis.items():
            rows.add_row(variant, name, *cells(found, next(iter(by_axis.values()))))
        rows.add_section()
    console.print(rows)


def _family(method: str, own: dict[str, Any]) -> tuple[Family, Task]:
    config = Config(width=_WIDTH, epochs=1, methods=(method,), **own)
    return only_family(config, cnn_learner, random_cifar(_IMAGES))


def _axes(options: Bench, topology: Topology, batch_size: int) -> Iterator[tuple[str, SeedAxis]]:
    first, chips = topology.devices[0], len(topology.devices)
    for seeds in options.chip_seeds:
        yield f"{seeds} on a chip", SeedAxis("vmap", seeds, device=first)
    for seeds in options.chip_seeds:
        if chips > 1 and seeds % chips == 0:
            mesh = make_mesh((chips, 1), seeds, batch_size, topology.devices)
            yield f"{seeds} over {chips} chips", SeedAxis("shard", seeds, mesh)
