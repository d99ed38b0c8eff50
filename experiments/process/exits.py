"""How every program ends, and where it writes."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from experiments.process.errors import OutputError, UsageError


def run(main: Callable[[], int | None]) -> NoReturn:
    """Exits with what `main` returns, or with a line on stderr and 2 (UsageError), 1 (OutputError) or 130 (Ctrl-C)."""
    try:
        sys.exit(main())
    except (UsageError, OutputError) as error:
        sys.exit(explain(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def explain(error: UsageError | OutputError) -> int:
    """Prints the error's line on stderr and returns the exit code."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    return 2 if isinstance(error, UsageError) else 1


def make_output_directory(path: Path) -> None:
    """Makes the directory that `--out` names, unless it exists, and checks that files can be made in it.

    Raises:
        UsageError: if either fails.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(f"--out must be a writable directory, got {path} ({error.strerror})") from error
