"""When hash tables are rebuilt: often at first, while the weights move much, and more rarely later (the paper)."""

import numpy as np

from experiments.training.options import RunOptions


def rounds_by_epoch(config: RunOptions, steps_by_epoch: np.ndarray, *, rehash: bool) -> np.ndarray:
    """The steps of each epoch between one rehash and the next.

    Rehashes are due every `rehash_every` steps of the run until `rehash_decay_after`, then every `rehash_every_late`;
    and once more as each epoch begins.

    Args:
        config: resolved.
        steps_by_epoch: `(epochs,)`, steps of each.
        rehash: False for one round an epoch.

    Returns:
        `(epochs, rounds, 2)` int32: a round's first step within its epoch, and the one after its last. Epochs of fewer
        rounds begin with empty ones: rehashing the same weights again changes nothing.
    """
    *begins, steps = np.cumsum([0, *steps_by_epoch]).tolist()
    change = min(config.rehash_decay_after, steps)
    due = [*range(0, change, config.rehash_every), *range(change, steps, config.rehash_every_late)] if rehash else []
    starts = np.union1d(np.asarray(due, int), begins)
    parts = np.split(starts, np.searchsorted(starts, begins[1:]))
    by_epoch = [part - begin for part, begin in zip(parts, begins, strict=True)]
    rounds = np.zeros((len(begins), max(map(len, by_epoch)), 2), np.int32)
    for own, first, last in zip(rounds, by_epoch, steps_by_epoch, strict=True):
        own[-len(first) :] = np.stack([first, [*first[1:], last]], -1)
    return rounds
