"""How every program ends, and where it writes."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from experiments.config import UsageError


def run(main: Callable[[], int | None]) -> NoReturn:
    """Exits with what `main` returns, or with 2 and a line on stderr where it raises a UsageError."""
    try:
        sys.exit(main())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


@contextlib.contextmanager
def output_directory(path: Path) -> Iterator[None]:
    """Makes the directory that `--out` names; the block then opens what it needs there.

    Raises:
        UsageError: if either fails.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UsageError(f"--out must be a writable directory, got {path} ({error.strerror})") from error
