"""Help and refusals come at once: without importing JAX, Flax or matplotlib."""

import subprocess
import sys

import pytest
from forked import ROOT

_PROGRAM = """
import runpy, sys
program = sys.argv.pop(1)
try:
    runpy.run_module(f"experiments.{program}", run_name="__main__", alter_sys=True)
finally:
    heavy = {"jax", "flax", "optax", "matplotlib", "tensorflow_datasets"} & sys.modules.keys()
    assert not heavy, f"imported {heavy}"
"""
_REFUSED = {
    "bench": ("--ratios", "2"),
    "choose": ("--ratio", "2"),
    "cifar": ("--methods", "magic"),
    "collapse": ("--variants", "magic"),
    "error_by_depth": ("--ratios", "2"),
    "hashing": ("--draws", "0"),
    "mlp": ("--data", "magic"),
}


def _run(program, *arguments):
    command = [sys.executable, "-c", _PROGRAM, program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("program", _REFUSED)
def test_help(program):
    process = _run(program, "--help")
    assert process.returncode == 0, process.stderr
    assert f"python -m experiments.{program}" in process.stdout and "--out" in process.stdout


@pytest.mark.parametrize("program", _REFUSED)
def test_bad_options(program):
    flag, value = _REFUSED[program]
    process = _run(program, flag, value)
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith(f"error: {flag} must be ") and process.stderr.count("\n") == 1
