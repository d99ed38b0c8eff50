"""The manifest: each recorded result's name, commands and needs. `manifest.toml` beside this file is the project's."""

import dataclasses
import shlex
import tomllib
from pathlib import Path
from typing import Any, Literal

from experiments.process.errors import UsageError
from experiments.record.sources import sources

MANIFEST = Path("experiments/record/manifest.toml")
"""Of a repository."""

OUT = "out"
"""What commands call the directory of the record."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the manifest.

    Attributes:
        name: of the record, a directory of `experiments/results`.
        commands: run one after another in the repository's root; each has `--out out`, or a directory in that.
        files: patterns of what is kept, each of which something must match.
        hours: how long it takes, about.
        cores: on how many.
        gpu: of which GPU it is, a part of its name; None for the CPU.
        data: sets of TensorFlow Datasets that it reads.
        inputs: files and directories that it reads in the repository's root, which git does not have.
        extra: what must be installed: optional dependencies of `pyproject.toml`.
        again: how an interrupted command goes on: "resume" by `--resume`, "same" by being run once more as it is,
            "anew" from its beginning.
        seconds: whether pages quote its seconds, so that the machine must have been left to it.
        also: modules that its programs run without importing them.
    """

    name: str
    commands: tuple[str, ...]
    files: tuple[str, ...]
    hours: float
    cores: int = 2
    gpu: str | None = None
    data: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    again: Literal["anew", "resume", "same"] = "anew"
    seconds: bool = False
    also: tuple[str, ...] = ()

    def sources(self, root: Path) -> dict[str, str]:
        """The hashes of all sources of its commands, by path.

        Raises:
            UsageError: if a command is of a program that is not there.
        """
        found: dict[str, str] = {}
        for command in self.commands:
            module, arguments = split(command)
            first_option = next((i for i, word in enumerate(arguments) if word.startswith("-")), len(arguments))
            try:
                found |= sources(root, (module, *self.also), arguments[:first_option])
            except ValueError as error:
                raise UsageError(f"{root / MANIFEST}: {self.name}: {error}") from error
        return dict(sorted(found.items()))


def split(command: str) -> tuple[str, list[str]]:
    """The module that a command runs, and its arguments.

    Raises:
        ValueError: if it is not "python -m MODULE ...".
    """
    python, m, module, *arguments = shlex.split(command)
    if (python, m) != ("python", "-m"):
        raise ValueError(f"a command must be python -m MODULE ..., got {command}")
    return module, arguments


def out_of(command: str) -> Path:
    """The directory that a command writes to, from where it is run."""
    _, arguments = split(command)
    return Path(arguments[arguments.index("--out") + 1])


def read_manifest(root: Path) -> dict[str, Entry]:
    """The entries of a repository's manifest by name, in its order.

    Raises:
        UsageError: if it is missing or wrong.
    """
    path = root / MANIFEST
    try:
        entries = [_entry(**fields) for fields in tomllib.loads(path.read_text())["record"]]
    except OSError as error:
        raise UsageError(f"--repository must have {MANIFEST}, got {root} ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: {error}") from error
    named = {entry.name: entry for entry in entries}
    if len(named) < len(entries):
        raise UsageError(f"{path}: two records have the same name")
    for name in named:
        if any(other.startswith(f"{name}/") for other in named):
            raise UsageError(f"{path}: {name} must not have other records in its directory")
    return named


def select(manifest: dict[str, Entry], names: tuple[str, ...]) -> list[Entry]:
    """The entries of these names, all of them if there are none; in the manifest's order.

    Raises:
        UsageError: if one is unknown.
    """
    for name in names:
        if name not in manifest:
            raise UsageError(f"a record must be of {', '.join(manifest)}, got {name}")
    return [entry for entry in manifest.values() if not names or entry.name in names]


def _entry(**fields: Any) -> Entry:
    read: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    entry = Entry(**read)
    places = [out_of(command) for command in entry.commands]
    if any(place.parts[0] != OUT for place in places):
        raise ValueError(f"{entry.name}: every command must have --out {OUT}, or a directory in it")
    if entry.again == "anew" and len(set(places)) < len(places):
        raise ValueError(f"{entry.name}: commands that begin anew must have directories of their own")
    if entry.again not in ("anew", "resume", "same"):
        raise ValueError(f"{entry.name}: again must be anew, resume or same, got {entry.again}")
    return entry
