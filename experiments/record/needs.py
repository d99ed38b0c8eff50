"""What a record needs that is not in the repository, and whether it is there."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from experiments.record.manifest import Entry

_DATA = "TFDS_DATA_DIR"
_IMPORTED = {"tpu": "libtpu"}  # by which the optional dependencies are told to be there


def lacking(root: Path, entry: Entry) -> str:
    """What is missing of its needs, in a line; empty if nothing is."""
    return "; ".join(_lacks(root, entry))


def gpus() -> list[str]:
    """Names and memory of those of NVIDIA."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()


def _lacks(root: Path, entry: Entry) -> Iterator[str]:
    data_dir = Path(os.environ.get(_DATA, "~/tensorflow_datasets")).expanduser()
    for name in entry.data:
        if not (data_dir / name).is_dir():
            yield f"{_DATA} must be a directory that holds {name} as TensorFlow Datasets prepares it, got {data_dir}"
    for name in entry.inputs:
        if not (root / name).exists():
            yield f"{name} must be in the repository's root"
    for name in entry.extra:
        if importlib.util.find_spec(_IMPORTED[name]) is None:
            yield f"{_IMPORTED[name]} must be installed (pip install 'jaxapprox[{name}]')"
    if entry.gpu is not None and not any(entry.gpu in name for name in gpus()):
        yield f"it needs a GPU, {entry.gpu}"
