"""The options that say which data a program uses."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from experiments.data import DATASETS
from experiments.process.checks import one_of


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Which data is used, and where it is."""

    data: Annotated[str, one_of([*DATASETS, "tfds:NAME"])] = "cifar10"
    """tfds:NAME is any image classification set of TensorFlow Datasets, such as tfds:fashion_mnist."""
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
