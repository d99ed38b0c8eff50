"""Runs of `experiments.mlp`: one, or one for each number of layers, and their figures."""

import dataclasses

from experiments.data.dataset import Dataset
from experiments.mlp.config import MLPConfig
from experiments.mlp.figures import plot_depth, plot_figure
from experiments.mlp.learner import make_task
from experiments.process.distributed import is_first
from experiments.runs.compare import check_fits, compare
from experiments.runs.directory import make_run, run_path
from experiments.seeds.dry_run import dry_run
from experiments.training.images import load_data
from experiments.training.rows import ImageRow

_FIGURES = {3: "figure15.png", 7: "figure16.png"}  # the paper's


def compare_depths(config: MLPConfig) -> int:
    """Runs `config`, each number of layers in a directory of its own where there are several; returns the exit code.

    Raises:
        UsageError: if the data can't be had or `--out` not written, before anything is trained.
        OutputError: if results can no longer be written.
    """
    data = load_data(config, colour=False)
    if len(config.layers) == 1:
        return _one_depth(config, data)[0]
    depths = {layers: dataclasses.replace(config, layers=(layers,)) for layers in config.layers}
    if config.compile_for is not None:
        return max(dry_run(one, make_task(one, data)) for one in depths.values())
    first = depths[config.layers[0]]
    check_fits(first, make_task(first, data))
    path = run_path(config)
    if is_first() and config.resume is None:
        make_run(path, config)
    rows: dict[int, list[ImageRow]] = {}
    for layers, one in depths.items():
        own = path / f"layers-{layers}"
        begun = own if (own / "config.json").exists() else None
        exit_code, rows[layers] = _one_depth(dataclasses.replace(one, out=own, resume=begun), data)
        if is_first():
            plot_depth(rows, path / "depth.png")
        if exit_code:
            return exit_code
    return 0


def _one_depth(config: MLPConfig, data: Dataset) -> tuple[int, list[ImageRow]]:
    (layers,) = config.layers
    task = make_task(config, data)
    exit_code, directory = compare(config, task)
    if directory is None or not directory.rows:
        return exit_code, []
    plot_figure(directory.rows, task.title, directory.path / _FIGURES.get(layers, f"layers-{layers}.png"))
    return exit_code, directory.rows
