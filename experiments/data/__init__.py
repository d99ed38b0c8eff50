"""The data sets that `--data` names; this module imports neither JAX nor what reads the data."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from experiments.process.errors import UsageError
from jaxapprox.registry import Registry

if TYPE_CHECKING:
    from experiments.data.dataset import Dataset

_TFDS = "tfds:"


class Loader(Protocol):
    """Loads one data set."""

    def __call__(self, data_dir: Path | None) -> "Dataset":
        """Loads it.

        Args:
            data_dir: where prepared data is kept; None for the loader's own place.

        Returns:
            The data set, both splits in memory.

        Raises:
            UsageError: if the data can't be had.
        """


DATASETS: Registry[Loader] = Registry(
    "data set",
    digits="experiments.data.sources:digits",
    mnist="experiments.data.sources:mnist",
    cifar10="experiments.data.sources:cifar10",
)
"""The loaders by name. `--data tfds:NAME` stands for every other set of TensorFlow Datasets."""


def check_data(name: str) -> None:
    """Checks a value of `--data` without loading anything; whether TFDS has a `tfds:NAME` only `load` can tell.

    Raises:
        UsageError: unless `name` is registered, or "tfds:" and what may be a name.
    """
    if name not in DATASETS and not re.fullmatch(_TFDS + r"[\w-]+(:[\w-]+)?(/[\w.-]+)?(:[\w.*]+)?", name):
        known = f"{', '.join(DATASETS)} or {_TFDS}NAME (of TensorFlow Datasets)"
        raise UsageError(f"--data must be one of {known}, got {name}")


def load(name: str, data_dir: Path | None = None) -> "Dataset":
    """Loads a data set.

    Args:
        name: one of `DATASETS`, or "tfds:" and the name of any image classification set of TensorFlow Datasets (TFDS)
            as TFDS writes it, configuration and version included: "tfds:emnist/letters".
        data_dir: where TFDS keeps prepared data; default `TFDS_DATA_DIR`, else TFDS's own default.

    Raises:
        UsageError: if there is no such data set, it is neither prepared nor downloadable, is damaged, or is no set of
            labelled images of one size.
    """
    check_data(name)
    if name in DATASETS:
        return DATASETS[name](data_dir)
    from experiments.data.sources import from_tfds

    return from_tfds(name.removeprefix(_TFDS), data_dir, option=name)
