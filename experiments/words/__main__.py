"""An output layer with a class for every word: exact, with sampled and with hashed candidates, on real text.

python -m experiments.words
python -m experiments.words --preset dictionaries --text dictionaries.txt.gz --methods exact sampled
"""

from experiments.process.exits import run
from experiments.runs.presets import parse
from experiments.words.config import WordsConfig


def main(config: WordsConfig) -> int:
    """Runs `config`; returns the exit code.

    Raises:
        UsageError: if the text can't be used or `--out` not written, before anything is trained.
        OutputError: if results can no longer be written.
    """
    # JAX is imported once the options are known to be right: --help and a slip take no time.
    from experiments.runs.compare import compare
    from experiments.training.devices import devices_of
    from experiments.words.learner import make_task

    with devices_of(config):
        return compare(config, make_task(config))[0]


if __name__ == "__main__":
    run(lambda: main(parse("experiments.words", WordsConfig)))
