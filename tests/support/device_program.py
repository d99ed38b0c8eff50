"""Checks that need several devices: run by a program of their own, which says of each what went wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping

import quick_compilation
from forked import ROOT


def faults_of(program: str) -> dict[str, str | None]:
    """What went wrong in each of the checks of a program in this folder, by their names."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "tests" / "support" / program],
        env={**os.environ, **quick_compilation.ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


def run(checks: Mapping[str, Callable[[], None]]) -> None:
    """Runs the checks, or those whose names hold the only argument, and prints what went wrong in each."""
    for name, check in checks.items():
        if sys.argv[1:] and sys.argv[1] not in name:
            continue
        try:
            check()
            fault = None
        except Exception as error:  # whatever a user would see
            fault = f"{type(error).__name__}: {error}"
        print(json.dumps([name, fault]), flush=True)
