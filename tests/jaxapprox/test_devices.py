"""Public functions on several devices: the checks of `tests/support/device_checks.py`, each by its name."""

import json
import os
import subprocess
import sys

import pytest
import quick_compilation
from device_checks import CHECKS
from forked import ROOT


@pytest.fixture(scope="module")
def faults():
    """What went wrong, by the names of the checks."""
    program = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "tests" / "support" / "device_checks.py"],
        env={**os.environ, **quick_compilation.ENVIRONMENT, "XLA_FLAGS": quick_compilation.LEVEL_0},
        capture_output=True,
        text=True,
    )
    assert program.returncode == 0, program.stderr
    return dict(map(json.loads, program.stdout.splitlines()))


@pytest.mark.parametrize("check", [f"{title}: {name}" for title, (_, names) in CHECKS.items() for name in names])
def test_devices(faults, check):
    assert faults[check] is None
