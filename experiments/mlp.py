"""The paper's fully connected networks: training time and accuracy of five methods (Figures 15 and 16).

python -m experiments.mlp
python -m experiments.mlp --data mnist --layers 3 7 --images 10000 --epochs 3 --seeds 3
"""

import dataclasses
import functools
import time
from pathlib import Path

from experiments.compare import compare
from experiments.config import parse
from experiments.data import Dataset, first_images, grey, hold_out, load
from experiments.mlp_config import MLPConfig
from experiments.mlp_methods import make_learner
from experiments.mlp_plots import plot_depth, plot_figure
from experiments.program import run
from experiments.runner import Row

_FIGURES = {3: "figure15.png", 7: "figure16.png"}  # the paper's


def main(config: MLPConfig) -> int:
    """Runs `config`, each number of layers in a directory of its own where there are several; returns the exit code.

    Raises:
        UsageError: if the data can't be had or `--out` not written, before anything is trained.
    """
    data = grey(load(config.data, config.data_dir))
    if config.validation:
        data = hold_out(data)
    if config.images:
        data = first_images(data, config.images)
    if len(config.layers) == 1:
        return _one_depth(config, data)[0]
    out = config.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.data}"
    rows: dict[int, list[Row]] = {}
    for layers in config.layers:
        one = dataclasses.replace(config, layers=(layers,), out=out / f"layers-{layers}")
        exit_code, rows[layers] = _one_depth(one, data)
        plot_depth(rows, out / "depth.png")
        if exit_code:
            return exit_code
    return 0


def _one_depth(config: MLPConfig, data: Dataset) -> tuple[int, list[Row]]:
    (layers,) = config.layers
    notes = (
        f"Batch size {config.batch_size}, {config.optimizer}, learning rate {config.lr},"
        f" {len(data.train.labels)} training images. dropout: rate {config.dropout_rate}."
        f" adaptive_dropout: {config.keep_rule}, alpha {config.keep_alpha}, beta {config.keep_beta}."
        f" alsh: {config.active:.1%} active by {config.select}, K {config.num_bits}, L {config.num_tables},"
        f" {config.transform}. mc: ratio {config.ratio}, {config.sampler}."
    )
    title = f"MLP of {layers} x {config.width} on {data.name}"
    learner = functools.partial(make_learner, config=config, layers=layers, data=data)
    exit_code, directory = compare(config, title, notes, data, config.methods, learner)
    if directory.rows:
        plot_figure(directory.rows, title, directory.path / _FIGURES.get(layers, f"layers-{layers}.png"))
    return exit_code, directory.rows


if __name__ == "__main__":
    run(lambda: main(parse("experiments.mlp", MLPConfig)))
