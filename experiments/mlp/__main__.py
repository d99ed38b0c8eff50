"""The paper's fully connected networks: training time and accuracy of five methods (Figures 15 and 16).

python -m experiments.mlp
python -m experiments.mlp --data mnist --layers 3 7 --images 10000 --epochs 3 --seeds 3
"""

import dataclasses
import functools

from experiments.data.datasets import Dataset
from experiments.data.display_name import display_name
from experiments.mlp.config import MLPConfig
from experiments.mlp.figures import plot_depth, plot_figure
from experiments.mlp.methods import make_learner
from experiments.process.checks import listed
from experiments.process.distributed import connected, is_first
from experiments.process.exits import run
from experiments.runs.command_line import parse
from experiments.runs.compare import check_fits, compare
from experiments.runs.directory import make_run, run_path
from experiments.seeds.segments import Row
from experiments.training.task import Task, load_data

_FIGURES = {3: "figure15.png", 7: "figure16.png"}  # the paper's


def task(config: MLPConfig, data: Dataset | None = None) -> Task:
    """The network of `config`'s only number of layers, on the data or on what was loaded of it.

    Raises:
        UsageError: if the data can't be had.
    """
    (layers,) = config.layers
    data = data or load_data(config, colour=False)
    notes = (
        f"Batch size {config.batch_size}, {config.optimizer}, learning rate {listed(config.lrs)},"
        f" {len(data.train.labels)} training images. dropout: rate {config.dropout_rate}."
        f" adaptive_dropout: {config.keep_rule}, alpha {config.keep_alpha}, beta {config.keep_beta}."
        f" alsh: {config.active:.1%} active by {config.select}, K {config.num_bits}, L {config.num_tables},"
        f" {config.transform}. mc: ratio {listed(config.ratios)}, {listed(config.samplers)}."
    )
    learner_of = functools.partial(make_learner, layers=layers, data=data)
    title = f"MLP of {layers} x {config.width} on {display_name(data.name)}"
    return Task(title, notes, data, config.methods, learner_of)


def main(config: MLPConfig) -> int:
    """Runs `config`, each number of layers in a directory of its own where there are several; returns the exit code.

    Raises:
        UsageError: if the data can't be had or `--out` not written, before anything is trained.
        OutputError: if results can no longer be written.
    """
    with connected(config):
        return _one_depth(config)[0] if len(config.layers) == 1 else _several_depths(config)


def _several_depths(config: MLPConfig) -> int:
    data = load_data(config, colour=False)
    depths = [dataclasses.replace(config, layers=(layers,)) for layers in config.layers]
    check_fits(config, task(depths[0], data))
    path = run_path(config)
    if is_first() and config.resume is None:
        make_run(path, config)
    rows: dict[int, list[Row]] = {}
    for one in depths:
        (layers,) = one.layers
        own = path / f"layers-{layers}"
        begun = own if (own / "config.json").exists() else None
        exit_code, rows[layers] = _one_depth(dataclasses.replace(one, out=own, resume=begun), data)
        if is_first():
            plot_depth(rows, path / "depth.png")
        if exit_code:
            return exit_code
    return 0


def _one_depth(config: MLPConfig, data: Dataset | None = None) -> tuple[int, list[Row]]:
    (layers,) = config.layers
    what = task(config, data)
    exit_code, directory = compare(config, what)
    if directory is None or not directory.rows:
        return exit_code, []
    plot_figure(directory.rows, what.title, directory.path / _FIGURES.get(layers, f"layers-{layers}.png"))
    return exit_code, directory.rows


if __name__ == "__main__":
    run(lambda: main(parse("experiments.mlp", MLPConfig)))
