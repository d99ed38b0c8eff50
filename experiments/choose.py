"""Which sampler and mode should `mc` use? Trains each on part of the training set and tests on the rest of it.

    python -m experiments.choose --width 16 --epochs 2

The test set is never looked at. The results are written to mc_selection.json in `--out`; those recorded in
`experiments/results/choose` led to the defaults of `experiments.cifar`, and its summaries show them.
"""

from experiments.cifar.config import Config
from experiments.process.exits import run
from experiments.runs.presets import parse


def main(config: Config) -> None:
    """Prints and records the held-out accuracy of `exact` and of each sampler and mode at `--ratio`."""
    from experiments.cifar.selection import choose  # imports JAX

    choose(config)


if __name__ == "__main__":
    run(lambda: main(parse("experiments.choose", Config)))
