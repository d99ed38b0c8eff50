"""Appendix B in numbers: can hashing find the active nodes of a convolution?

    python -m experiments.hashing --data cifar10 --width 16 --epochs 1

On real images, with filters as initialised and trained; `experiments.hashing.measurements` has the four parts.
"""

from experiments.hashing.options import Hashing
from experiments.process.command_line import read_options
from experiments.process.exits import make_output_directory, run
from experiments.process.files import save_figure, write_json, write_whole


def main(options: Hashing) -> None:
    """Measures all four parts, and writes and prints the results.

    Raises:
        UsageError: if a value is out of its range, the data can't be had, or `--out` can't be written.
        OutputError: if results can no longer be written.
    """
    options.check()
    # Imported here: help and refusals need not wait for JAX.
    from experiments.data import load
    from experiments.hashing.measurements import measure
    from experiments.hashing.report import draw, markdown

    data = load(options.data, options.data_dir)
    make_output_directory(options.out)
    record = measure(options, data)
    write_json(options.out / "hashing.json", record)
    write_whole(options.out / "hashing.md", markdown(record))
    save_figure(options.out / "hashing.png", draw(record))
    print(markdown(record))


if __name__ == "__main__":
    run(lambda: main(read_options("experiments.hashing", Hashing)))
