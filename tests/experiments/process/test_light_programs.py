"""Help and refusals come at once: without importing JAX, Flax or matplotlib."""

import json
import subprocess
import sys

import pytest
from forked import ROOT

_PROGRAM = """
import json, runpy, sys
program, *commands = json.loads(sys.argv[1])
codes = []
for arguments in commands:
    sys.argv = [program, *arguments]
    try:
        runpy.run_module(f"experiments.{program}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        codes.append(end.code)
heavy = {"jax", "flax", "optax", "matplotlib", "tensorflow_datasets"} & sys.modules.keys()
assert not heavy, f"imported {heavy}"
print(json.dumps(codes))
"""
_REFUSED = {
    "bench": ("--ratios", "2"),
    "choose": ("--ratio", "2"),
    "cifar": ("--methods", "magic"),
    "collapse": ("--variants", "magic"),
    "error_by_depth": ("--ratios", "2"),
    "hashing": ("--draws", "0"),
    "mlp": ("--data", "magic"),
    "race": ("--seeds", "0"),
    "record": ("--repository", "/nowhere"),
    "words": ("--methods", "magic"),
}


@pytest.mark.parametrize("program", _REFUSED)
def test_help_and_bad_options(program):
    flag, value = _REFUSED[program]
    commands = json.dumps([program, ["--help"], [flag, value]])
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM, commands], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "[0, 2]"
    assert f"python -m experiments.{program}" in process.stdout and flag in process.stdout
    assert process.stderr.startswith(f"error: {flag} must be ") and process.stderr.count("\n") == 1
