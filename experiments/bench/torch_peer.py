"""Timings of PyTorch, each in a process of its own, by whichever interpreter has it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from experiments.process.errors import UsageError

_PEERS = Path(__file__).parent / "peers"


def check_interpreter(python: Path) -> None:
    """Raises a UsageError if `python` can't be run."""
    try:
        subprocess.run([python, "-c", ""], capture_output=True, check=False)
    except OSError as error:
        raise UsageError(f"--torch-python must be an interpreter, got {python} ({error.strerror})") from error


def has_torch(python: Path) -> bool:
    """Whether the interpreter can import PyTorch."""
    return subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0


def torch_seconds(python: Path, peer: str, **options: Any) -> Any:
    """The median seconds of a training step, as a program in `peers` measures and prints them.

    Args:
        python: an interpreter that has PyTorch.
        peer: name of a program in `peers`, without its suffix.
        **options: of that program.

    Raises:
        UsageError: if the program fails.
    """
    named = ((f"--{name.replace('_', '-')}", str(value)) for name, value in options.items())
    command = [str(python), str(_PEERS / f"{peer}.py"), *(word for pair in named for word in pair)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise UsageError(f"--torch-python: {' '.join(command)} failed: {process.stderr.strip().splitlines()[-1:]}")
    return json.loads(process.stdout)["seconds"]
