"""Makes records, one at a time, from a worktree of the revision that is checked out when it begins."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from experiments.process.errors import OutputError, UsageError
from experiments.process.exits import explain
from experiments.process.interrupt import Stopped
from experiments.process.versions import versions
from experiments.record.machine import Load, hardware
from experiments.record.manifest import OUT, Entry, out_of, read_manifest, select, split
from experiments.record.needs import lacking
from experiments.record.state import RESULTS, status
from experiments.record.work import UNFINISHED, Work, alone
from experiments.record.worktree import head, worktree

QUIET = 0.25
"""Cores at work on something else, from which on seconds are not to be read."""


def record(root: Path, names: tuple[str, ...], *, again: bool = False) -> int:
    """Makes what is missing or stale of these records, or of all.

    Args:
        root: of the repository.
        names: of the records; none for all.
        again: whether those that are current are made too.

    Returns:
        The exit code: 0 if all of them are current now, 1 if not.

    Raises:
        UsageError: if a name is unknown, or something is lacking for a record that was named.
        Stopped: by SIGINT or SIGTERM; what was done is kept.
    """
    revision = head(root)
    with alone(root), worktree(root, revision, root.resolve() / UNFINISHED / "worktree") as tree:
        chosen = [entry for entry in select(read_manifest(tree), names) if again or not _current(root, tree, entry)]
        lacks = {entry.name: lacking(root, entry) for entry in chosen}
        for name in names:
            if lacks.get(name):
                raise UsageError(f"{name}: {lacks[name]}")
        failed = False
        for entry in chosen:
            failed |= not _made(root, tree, revision, entry, lacks[entry.name])
        return int(failed)


def _current(root: Path, tree: Path, entry: Entry) -> bool:
    """By the sources of the worktree, and the record of the repository."""
    current = status(root, entry, sources_of=tree).current
    if current:
        print(f"{entry.name} is current", flush=True)
    return current


def _made(root: Path, tree: Path, revision: str, entry: Entry, lacks: str) -> bool:
    if lacks:
        print(f"{entry.name} is left out: {lacks}", flush=True)
        return False
    try:
        _make(root, tree, revision, entry)
    except OutputError as error:
        explain(OutputError(f"{entry.name}: {error}"))
        return False
    return True


def _make(root: Path, tree: Path, revision: str, entry: Entry) -> None:
    sources = entry.sources(tree)
    work = Work(root, entry.name, commands=list(entry.commands), sources=sources)
    links = {tree / OUT: work.out.resolve(), **{tree / name: (root / name).resolve() for name in entry.inputs}}
    for link, target in links.items():
        link.symlink_to(target)
    try:
        work.begin()
        for command in entry.commands[work.done :]:
            _run(tree, entry, command, work)
        facts = _facts(entry, sources, revision, work)
        work.finish(entry.files, facts)
    finally:
        for link in links:
            link.unlink()
    noise = "" if facts["quiet"] or not entry.seconds else "; others were at work: its seconds are not to be read"
    print(f"{entry.name} is recorded in {RESULTS / entry.name}{noise}", flush=True)


def _run(tree: Path, entry: Entry, command: str, work: Work) -> None:
    print(f"{entry.name}: {command}", flush=True)
    out = tree / out_of(command)
    module, arguments = split(command)
    if entry.again == "anew":
        for path in out.iterdir() if out.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif entry.again == "resume" and (out / "config.json").exists():
        arguments = ["--resume", str(out_of(command))]
    out.mkdir(parents=True, exist_ok=True)
    load, began, ended_well = Load(), time.monotonic(), False
    try:
        code = _exit_code([sys.executable, "-m", module, *arguments], tree, _environment(tree, entry))
        ended_well = code == 0
    finally:
        work.add(time.monotonic() - began, load.of_others(), done=ended_well)
    if not ended_well:
        raise OutputError(f"{shlex.join(['python', '-m', module, *arguments])} failed with exit code {code}")


def _exit_code(command: list[str], directory: Path, environment: dict[str, str]) -> int:
    """Runs a program, in a session of its own: a signal is handed on once, so that the program can save.

    Raises:
        Stopped: when a signal has ended it.
    """
    stopped: list[int] = []
    process = subprocess.Popen(command, cwd=directory, env=environment, start_new_session=True)

    def hand_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGKILL if stopped else signal.SIGTERM)
        stopped.append(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        raise Stopped(stopped[0])
    return code


def _environment(tree: Path, entry: Entry) -> dict[str, str]:
    """The user's, with the worktree's packages, on the platform that the record is of, with XLA's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    return {**kept, "PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu" if entry.gpu is None else "cuda,cpu"}


def _facts(entry: Entry, sources: dict[str, str], revision: str, work: Work) -> dict[str, Any]:
    return {
        "name": entry.name,
        "commands": list(entry.commands),
        "revision": revision,
        "recorded": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": versions(),
        "hardware": hardware(gpu=entry.gpu is not None),
        "hours": round(work.seconds / 3600, 4),
        "starts": work.starts,
        "cores_of_others": None if work.busy is None else round(work.busy, 2),
        "quiet": work.busy is not None and work.busy <= QUIET,
        "seeds": _seeds(work.out),
        "sources": sources,
    }


def _seeds(out: Path) -> dict[str, list[int]]:
    """Those of each run that has a config.json, by its directory; what other programs took is in their own files."""
    found = {}
    for path in sorted(out.glob("**/config.json")):
        config = json.loads(path.read_text())["config"]
        found[path.parent.relative_to(out).as_posix()] = [config["seed"] + i for i in range(config["seeds"])]
    return found
