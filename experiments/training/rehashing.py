"""When hash tables are rebuilt: often at first, while the weights move much, and more rarely later (the paper)."""

import numpy as np

from experiments.training.options import RunOptions


def rounds_by_epoch(config: RunOptions, steps_per_epoch: int, *, rehash: bool) -> np.ndarray:
    """The steps of each epoch between one rehash and the next.

    Rehashes are due every `rehash_every` steps of the run until `rehash_decay_after`, then every `rehash_every_late`;
    and once more as each epoch begins.

    Args:
        config: resolved.
        steps_per_epoch: steps of an epoch.
        rehash: False for one round an epoch.

    Returns:
        `(epochs, rounds, 2)` int32: a round's first step within its epoch, and the one after its last. Epochs of fewer
        rounds begin with empty ones: rehashing the same weights again changes nothing.
    """
    steps = steps_per_epoch * config.epochs
    change = min(config.rehash_decay_after, steps)
    due = [*range(0, change, config.rehash_every), *range(change, steps, config.rehash_every_late)] if rehash else []
    starts = np.union1d(np.asarray(due, int), np.arange(config.epochs) * steps_per_epoch)
    parts = np.split(starts, np.searchsorted(starts, np.arange(1, config.epochs) * steps_per_epoch))
    by_epoch = [part - e * steps_per_epoch for e, part in enumerate(parts)]
    rounds = np.zeros((config.epochs, max(map(len, by_epoch)), 2), np.int32)
    for own, first in zip(rounds, by_epoch, strict=True):
        own[-len(first) :] = np.stack([first, [*first[1:], steps_per_epoch]], -1)
    return rounds
