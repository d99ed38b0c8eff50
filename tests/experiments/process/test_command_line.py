"""Options from a command line."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import ROOT

from experiments.process.command_line import expand_home, read_options
from experiments.process.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of several types."""

    count: int = 1
    name: str = "~"
    out: Path = Path("here")
    data_dir: Path | None = None


def test_home_is_meant_by_a_tilde_of_any_path(monkeypatch, tmp_path):
    """Whether the shell would have expanded it or not, in defaults too; other text keeps its tilde."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["program", "--out=~/runs", "--data-dir", "~", "--count", "2"])
    assert read_options("program", Options) == Options(2, "~", tmp_path / "runs", tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", "--out", "a/~b"])
    assert read_options("program", Options, Options(data_dir=Path("~"))) == Options(1, "~", Path("a/~b"), tmp_path)


def test_a_home_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match=r"^--out must be in a home directory that exists, got ~nobody-here/runs$"):
        expand_home("--out", Path("~nobody-here/runs"))


def test_programs_write_to_the_home_directory(tmp_path):
    """As a process, whose environment has the home directory; a directory named "~" is not made."""
    home = tmp_path / "home"
    home.mkdir()
    small = ("--width", "16", "--layers", "1", "--networks", "1", "--examples", "1", "--draws", "1")
    process = subprocess.run(
        [sys.executable, "-m", "experiments.error_by_depth", *small, "--out=~/results"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert (home / "results" / "error_by_depth.json").exists() and not (tmp_path / "~").exists()


def test_training_programs_read_a_run_from_the_home_directory(forked, tmp_path):
    """`--resume` is read before the other options are."""
    program = forked.run("experiments.cifar", "--resume=~/missing", HOME=str(tmp_path))
    assert program.returncode == 2 and f"got {tmp_path / 'missing'}" in program.stderr, program.output
