"""From a command line to a program's options."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import tyro

from experiments.process.checks import flag
from experiments.process.errors import UsageError

_Options = TypeVar("_Options")


def read_options(program: str, options: type[_Options], default: _Options | None = None) -> _Options:
    """The options that the command line gives; a "~" at the beginning of a path means the home directory.

    Bad usage exits with code 2.

    Args:
        program: its module's name.
        options: a dataclass, each of whose fields becomes an option.
        default: what the options are that the command line leaves out, if not the dataclass's defaults.

    Raises:
        UsageError: if a path begins with the home directory of a user who has none.
    """
    parsed: Any = tyro.cli(options, prog=f"python -m {program}", default=default or options())
    paths = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(parsed)}
    expanded = {name: expand_home(flag(name), path) for name, path in paths.items() if isinstance(path, Path)}
    return dataclasses.replace(parsed, **expanded)


def expand_home(option: str, path: Path) -> Path:
    """The path with the home directory in place of its "~"; a shell leaves that of `--out=~/runs` to the program.

    Args:
        option: as the command line names it, for the message.
        path: relative, absolute, or beginning with "~" or "~user".

    Raises:
        UsageError: if there is no such home directory.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{option} must be in a home directory that exists, got {path}") from error
