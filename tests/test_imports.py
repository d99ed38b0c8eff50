"""The contracts on imports in pyproject.toml: one way, around no circle, and the library's border."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def test_contracts_are_kept():
    lint_imports = Path(sys.executable).with_name("lint-imports")
    process = subprocess.run([lint_imports, "--no-cache"], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout
    assert "Contracts: 5 kept, 0 broken." in process.stdout
