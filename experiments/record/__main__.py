"""The recorded results: makes those that are missing or stale, says which are, and writes the pages that quote them.

    python -m experiments.record --check
    python -m experiments.record quick error_by_depth
    python -m experiments.record --pages

`docs/running.md` says how; the records are those of `manifest.toml` beside this file.
"""

from experiments.process.command_line import read_options
from experiments.process.exits import run
from experiments.process.interrupt import Stopped
from experiments.record.manifest import read_manifest, select
from experiments.record.options import Recording
from experiments.record.state import status


def main(options: Recording) -> int:
    """Records, checks or writes pages, and returns the exit code.

    Raises:
        UsageError: if a record is unknown, or what it needs is lacking.
        OutputError: if results can no longer be written.
    """
    options.verify()
    entries = select(read_manifest(options.repository), options.names)
    if options.check:
        found = {entry: status(options.repository, entry) for entry in entries}
        for entry, state in found.items():
            print(f"{entry.name}: {state}{'' if entry.gpu is None else ' (needs a GPU)'}")
        return int(any(not state.current and entry.gpu is None for entry, state in found.items()))
    if options.pages:
        from experiments.record.quote.pages import write_pages

        write_pages(options.repository)
        return 0
    from experiments.record.recorder import record

    try:
        return record(options.repository, options.names, again=options.again)
    except Stopped as stopped:
        return stopped.exit_code


if __name__ == "__main__":
    run(lambda: main(read_options("experiments.record", Recording)))
