"""The paper's CNN, trained exactly, with sampled convolutions and with a hashed dense layer (Table 3).

python -m experiments.cifar --preset quick
python -m experiments.cifar --data cifar10 --width 16 --epochs 3 --methods exact mc alsh --ratio 0.5
"""

from experiments.choose import selection_lines
from experiments.cnn import cnn_learner
from experiments.compare import compare
from experiments.config import Config, parse
from experiments.data import hold_out, load
from experiments.methods import METHODS
from experiments.program import run
from experiments.train import Learner


def main(config: Config) -> int:
    """Runs `config`; returns the exit code.

    Raises:
        UsageError: if the data can't be had or `--out` not written, before anything is trained.
    """
    data = load(config.data, config.data_dir)
    if config.validation:
        data = hold_out(data)
    notes = (
        f"mc: ratio {config.ratio}, {config.sampler}, {config.unit}, {config.mode}."
        f" alsh: {config.active:.1%} active by {config.select}, K {config.num_bits}, L {config.num_tables},"
        f" {config.transform}, computed in masked form with diagnostics: it saves no FLOPs here."
    )

    def learner(name: str) -> Learner:
        return cnn_learner(config, METHODS[name](config), data)

    title = f"{config.network}, on {data.name}"
    return compare(config, title, notes, data, config.methods, learner, selection_lines())[0]


if __name__ == "__main__":
    run(lambda: main(parse("experiments.cifar", Config)))
