"""Does it pay? Methods of training against exact training, for the same seconds, each tuned with the same effort.

    python -m experiments.race digits
    python -m experiments.race cifar --arms exact drop mc --budgets 60 240 960 --out race
    python -m experiments.race --report --out race

An interrupted race goes on where it was; `docs/running.md` says what it writes.
"""

from experiments.process.command_line import read_options
from experiments.process.exits import run
from experiments.race.config import Race


def main(options: Race) -> None:
    """Races the arms of each task, and writes the report.

    Raises:
        UsageError: if a value is out of its range, data can't be had, or `--out` holds a race of other settings or
            can't be written.
        OutputError: if results can no longer be written.
    """
    options.check()
    # Imported here: help and refusals need not wait for JAX.
    from experiments.race.report import write_report

    if options.report:
        write_report(options.out)
        return
    from experiments.race.stages import race

    for name in options.tasks:
        race(name, options)
        if options.until == "run":
            write_report(options.out)


if __name__ == "__main__":
    run(lambda: main(read_options("experiments.race", Race)))
