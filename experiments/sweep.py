"""Training over many seeds from Python: `sweep(config, keys)`, for notebooks."""

import pkgutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.seeds.settings import families
from experiments.seeds.train_family import train_family
from experiments.training.image_options import ImageOptions
from experiments.training.rows import ImageRow
from experiments.training.task import Task


class SweepMetrics(NamedTuple):
    """The metrics of one setting: arrays `(seeds, epochs)` float64. Accuracies are from 0 to 1, times in seconds.

    The columns are those of a run's metrics.jsonl: see `experiments.training.rows.ImageRow`.
    """

    train_loss: np.ndarray
    test_accuracy: np.ndarray
    test_accuracy_uncalibrated: np.ndarray
    test_accuracy_hashed: np.ndarray | None  # None for a method that does not hash
    train_seconds: np.ndarray


def sweep(config: ImageOptions, keys: jax.Array, task: Task | None = None) -> dict[str, SweepMetrics]:
    """Trains by every method and setting of `config` from each of `keys`.

    Key i starts every setting from the same parameters and shows it the same batches: differences are paired.

    Args:
        config: the options of `experiments.cifar` (`Config`) or `experiments.mlp` (`MLPConfig`); `seed`, `seeds` and
            `out` are not used.
        keys: `(seeds,)` typed PRNG keys of the default implementation.
        task: by default that of the program to which `config` belongs.

    Returns:
        The metrics by the setting's name, which is the method's where there is one value of each option.

    Raises:
        UsageError: as for `RunOptions.check`, or if the data can't be had.
        ValueError: if `keys` is no array of such keys.
    """
    default = jax.random.key(0).dtype
    if keys.dtype != default or keys.ndim != 1 or not keys.size:
        raise ValueError(f"keys must be (seeds,) typed keys, {default}, as of jax.random.split; got {keys.aval}")
    config.check()
    task = task or pkgutil.resolve_name(config.task)(config)
    seeds = dict(enumerate(np.asarray(jax.random.key_data(keys))))
    rows = [row for family in families(config, task.methods) for row in train_family(family, seeds, task)]
    return {name: _metrics(rows, name, seeds, config.epochs) for name in dict.fromkeys(row.method for row in rows)}


def _metrics(rows: list[ImageRow], name: str, seeds: Mapping[int, np.ndarray], epochs: int) -> SweepMetrics:
    own = {(row.seed, row.epoch): row for row in rows if row.method == name}

    def table(column: str) -> Any:
        values = [[getattr(own[seed, epoch + 1], column) for epoch in range(epochs)] for seed in seeds]
        return None if values[0][0] is None else np.array(values)

    return SweepMetrics(*map(table, SweepMetrics._fields))
