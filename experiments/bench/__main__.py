"""Speed on this machine: tables and a JSON file.

    python -m experiments.bench --torch-python /path/to/python-with-torch --out bench
    python -m experiments.bench mlp --out bench

The parts are in `experiments.bench.parts`. Within a part everything that is compared is measured in turn.
"""

from typing import Any

from rich.console import Console

from experiments.bench.options import Bench
from experiments.bench.parts import ELSEWHERE, PARTS
from experiments.process.command_line import read_options
from experiments.process.exits import make_output_directory, run
from experiments.process.files import write_json


def main(options: Bench) -> None:
    """Measures all parts, prints their tables and writes `bench.json` after each.

    Raises:
        UsageError: if a value is out of its range, or `--out` or `--torch-python` can't be used.
        OutputError: if results can no longer be written.
    """
    options.check()
    if options.out is not None:
        make_output_directory(options.out)
    # Imported here, as the parts are: help and refusals need not wait for JAX.
    from experiments.process.environment import environment

    if ELSEWHERE.issuperset(options.parts):
        from experiments.compiler.topology import without_accelerator

        without_accelerator()
    console = Console(width=max(Console().width, 100))  # room for the longest variant on a line
    results: dict[str, Any] = {"environment": environment()}
    for name in options.parts:
        part = PARTS[name]
        measured = part.measure(options)
        results |= measured
        if options.out is not None:
            write_json(options.out / "bench.json", results)
        part.show(options, measured, console)


if __name__ == "__main__":
    run(lambda: main(read_options("experiments.bench", Bench)))
