"""From a command line to options: over a preset, or over those of the run that it resumes."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from experiments.process.checks import flag
from experiments.process.command_line import expand_home, read_options
from experiments.process.errors import UsageError
from experiments.training.options import RunOptions

# How a run is carried out: these may be others when it is resumed.
_OF_THE_PROCESS = {
    "data_dir",
    "checkpoint_minutes",
    "compile_for",
    "out",
    "resume",
    "distributed",
    "coordinator",
    "num_processes",
    "process_id",
    "connect_seconds",
}
_OF_THE_DATA = {"data_dir"}  # of these, those that a resumed run has from the one that it resumes
_Options = TypeVar("_Options", bound=RunOptions)


def parse(program: str, options: type[_Options]) -> _Options:
    """The command line over the preset that it names, or over what a resumed run was begun with.

    Bad usage exits with code 2, as does a check that fails.

    Args:
        program: its module's name.
        options: if it has presets, with an option `preset`, one of them; the first is the default.

    Raises:
        UsageError: if a value is out of its range (`RunOptions.check`), or `--resume` names no run, or one that was
            begun with other options.
    """
    before = argparse.ArgumentParser(prog=f"python -m {program}", add_help=False, allow_abbrev=False)
    before.add_argument("--preset", default=next(iter(options.presets), None))
    before.add_argument("--resume", type=Path)
    named, _ = before.parse_known_args()
    if named.resume is None:
        default = options(**options.presets.get(named.preset, {}))
    else:
        default = _begun_with(expand_home("--resume", named.resume), options)
    config = read_options(program, options, default)
    if named.resume is not None:
        _check_same(default, config)
    config.check()
    return config


def _begun_with(path: Path, options: type[_Options]) -> _Options:
    try:
        saved = json.loads((path / "config.json").read_text())["config"]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"--resume must be the directory of a run, got {path} ({error!r})") from error
    known = {field.name for field in dataclasses.fields(options)}
    if differing := (saved.keys() ^ known) - _OF_THE_PROCESS:
        names = ", ".join(sorted(differing))
        raise UsageError(f"--resume must be a run of this program and version, got {path} (differing: {names})")
    hints = get_type_hints(options)
    kept = saved.keys() - (_OF_THE_PROCESS - _OF_THE_DATA)
    return options(**{name: _as_option(saved[name], hints[name]) for name in kept}, out=path)


def _as_option(value: Any, hint: Any) -> Any:
    """The value of an option, from what JSON made of it."""
    if isinstance(value, str) and hint == Path | None:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value


def _check_same(begun: RunOptions, config: RunOptions) -> None:
    before, now = dataclasses.asdict(begun), dataclasses.asdict(config)
    differing = [
        f"{flag(name)} was {before[name]}, got {now[name]}"
        for name in before
        if name not in _OF_THE_PROCESS and before[name] != now[name]
    ]
    if differing:
        raise UsageError(f"--resume must have the options the run was begun with: {'; '.join(differing)}")
