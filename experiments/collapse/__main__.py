"""Why did ALSH-approx collapse to 10.3 % (Table 3)? The same network and seeds, one ingredient changed at a time.

    python -m experiments.collapse --width 16 --epochs 3 --images 50000

Every variant is evaluated exactly, as in the paper, and through its own hash.
"""

from experiments.collapse.options import Collapse
from experiments.process.command_line import read_options
from experiments.process.exits import run


def main(options: Collapse) -> int:
    """Trains the variants, writes the results after each, and returns the exit code.

    Raises:
        UsageError: if a value is out of its range, the data can't be had, or `--out` holds results of other settings
            or can't be written.
        OutputError: if results can no longer be written.
    """
    options.check()
    # Imported here: help and refusals need not wait for JAX.
    from experiments.collapse.training import train_variants

    return train_variants(options)


if __name__ == "__main__":
    run(lambda: main(read_options("experiments.collapse", Collapse)))
