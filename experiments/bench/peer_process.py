"""Peers: programs of other libraries, each in a process of its own, by whichever interpreter has the library."""

import json
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

from experiments.process.errors import UsageError

_PEERS = Path(__file__).parent / "peers"


def check_interpreter(flag: str, python: Path) -> None:
    """Raises a UsageError that names the flag if `python` can't be run."""
    try:
        subprocess.run([python, "-c", ""], capture_output=True, check=False)
    except OSError as error:
        raise UsageError(f"{flag} must be an interpreter, got {python} ({error.strerror})") from error


def has(python: Path, library: str) -> bool:
    """Whether the interpreter can import a library."""
    return subprocess.run([python, "-c", f"import {library}"], capture_output=True, check=False).returncode == 0


def torch_seconds(python: Path, peer: str, **options: Any) -> Any:
    """The median seconds of a training step of PyTorch, as a program in `peers` measures and prints them.

    Args:
        python: an interpreter that has PyTorch.
        peer: name of the program, without its suffix.
        **options: of the program.

    Raises:
        UsageError: if the program fails.
    """
    return run_peer("--torch-python", python, peer, **options)[-1]["seconds"]


def tf_seconds(python: Path, peer: str, **options: Any) -> Any:
    """As `torch_seconds`, of TensorFlow."""
    return run_peer("--tf-python", python, peer, **options)[-1]["seconds"]


def run_peer(flag: str, python: Path, peer: str, **options: Any) -> list[dict[str, Any]]:
    """The JSON lines that a program in `peers` prints.

    Args:
        flag: which names the interpreter.
        python: an interpreter that has what the program needs.
        peer: its name, without its suffix.
        **options: of the program; a collection is several values.

    Raises:
        UsageError: if the program fails.
    """
    command = [str(python), str(_PEERS / f"{peer}.py")]
    for name, value in options.items():
        several = isinstance(value, Collection) and not isinstance(value, str)
        command += [f"--{name.replace('_', '-')}", *map(str, value if several else [value])]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise UsageError(f"{flag}: {' '.join(command)} failed: {process.stderr.strip().splitlines()[-1:]}")
    return [json.loads(line) for line in process.stdout.splitlines()]
