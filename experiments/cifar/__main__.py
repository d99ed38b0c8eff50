"""The paper's CNN, trained exactly, with sampled convolutions and with a hashed dense layer (Table 3).

python -m experiments.cifar --preset quick
python -m experiments.cifar --data cifar10 --width 16 --epochs 3 --methods exact mc alsh --ratio 0.5
"""

from experiments.cifar.config import Config
from experiments.process.exits import run
from experiments.runs.presets import parse


def main(config: Config) -> int:
    """Runs `config`; returns the exit code.

    Raises:
        UsageError: if the data can't be had or `--out` not written, before anything is trained.
        OutputError: if results can no longer be written.
    """
    # JAX is imported once the options are known to be right: --help and a slip take no time.
    from experiments.cifar.learner import make_task
    from experiments.cifar.selection import selection_lines
    from experiments.runs.compare import compare
    from experiments.training.devices import devices_of

    with devices_of(config):
        return compare(config, make_task(config), selection_lines(config))[0]


if __name__ == "__main__":
    run(lambda: main(parse("experiments.cifar", Config)))
