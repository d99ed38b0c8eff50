"""The paper's CNN, trained exactly, with sampled convolutions and with a hashed dense layer (Table 3).

python -m experiments.cifar --preset quick
python -m experiments.cifar --data cifar10 --width 16 --epochs 3 --methods exact mc alsh --ratio 0.5
"""

import functools

from experiments.cifar.config import Config
from experiments.cifar.learner import make_learner
from experiments.cifar.selection import selection_lines
from experiments.data.display_name import display_name
from experiments.process.checks import listed
from experiments.process.distributed import connected
from experiments.process.exits import run
from experiments.runs.command_line import parse
from experiments.runs.compare import compare
from experiments.training.task import Task, load_data


def task(config: Config) -> Task:
    """ResNet-18, or what `--blocks` makes of it, on the data.

    Raises:
        UsageError: if the data can't be had.
    """
    data = load_data(config)
    notes = (
        f"{len(data.train.labels)} training images."
        f" mc: ratio {listed(config.ratios)}, {listed(config.samplers)}, {config.unit}, {config.mode}."
        f" alsh: {config.active:.1%} active by {config.select}, K {config.num_bits}, L {config.num_tables},"
        f" {config.transform}, computed in masked form with diagnostics: it saves no FLOPs here."
    )

    learner_of = functools.partial(make_learner, data=data)
    return Task(f"{config.network}, on {display_name(data.name)}", notes, data, config.methods, learner_of)


def main(config: Config) -> int:
    """Runs `config`; returns the exit code.

    Raises:
        UsageError: if the data can't be had or `--out` not written, before anything is trained.
        OutputError: if results can no longer be written.
    """
    with connected(config):
        return compare(config, task(config), selection_lines())[0]


if __name__ == "__main__":
    run(lambda: main(parse("experiments.cifar", Config)))
