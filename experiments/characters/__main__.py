"""A small transformer on the characters of a text: exact, with sampled products, with sampled kernel gradients.

python -m experiments.characters
python -m experiments.characters --preset fine_tune --methods exact kernel adaptive
"""

from experiments.characters.config import CharactersConfig
from experiments.process.exits import run
from experiments.runs.presets import parse


def main(config: CharactersConfig) -> int:
    """Runs `config`; returns the exit code.

    Raises:
        UsageError: if a text can't be used or `--out` not written, before anything is trained.
        OutputError: if results can no longer be written.
    """
    # JAX is imported once the options are known to be right: --help and a slip take no time.
    from experiments.characters.task import make_task
    from experiments.runs.compare import compare
    from experiments.training.devices import devices_of

    with devices_of(config):
        return compare(config, make_task(config))[0]


if __name__ == "__main__":
    run(lambda: main(parse("experiments.characters", CharactersConfig)))
