"""The paper's fully connected networks: training time and accuracy of five methods (Figures 15 and 16).

python -m experiments.mlp
python -m experiments.mlp --data mnist --layers 3 7 --images 10000 --epochs 3 --seeds 3
"""

from experiments.mlp.config import MLPConfig
from experiments.process.exits import run
from experiments.runs.presets import parse


def main(config: MLPConfig) -> int:
    """Runs `config`, each number of layers in a directory of its own where there are several; returns the exit code.

    Raises:
        UsageError: if the data can't be had or `--out` not written, before anything is trained.
        OutputError: if results can no longer be written.
    """
    # JAX is imported once the options are known to be right: --help and a slip take no time.
    from experiments.mlp.depths import compare_depths
    from experiments.training.devices import devices_of

    with devices_of(config):
        return compare_depths(config)


if __name__ == "__main__":
    run(lambda: main(parse("experiments.mlp", MLPConfig)))
