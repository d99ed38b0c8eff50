"""The rounds of steps that training is made of, at whose beginnings something is due."""

from collections.abc import Sequence

import numpy as np

from experiments.training.options import RunOptions


def rehashes_due(config: RunOptions, steps: int) -> list[int]:
    """The steps before which hash tables are rebuilt: often at first, while the weights move much, and more rarely
    later (the paper): every `rehash_every` steps until `rehash_decay_after`, then every `rehash_every_late`."""
    change = min(config.rehash_decay_after, steps)
    return [*range(0, change, config.rehash_every), *range(change, steps, config.rehash_every_late)]


def rounds_by_epoch(steps_by_epoch: np.ndarray, due: Sequence[int]) -> np.ndarray:
    """The steps of each epoch between one beginning of a round and the next.

    Args:
        steps_by_epoch: `(epochs,)`, steps of each.
        due: the steps of the run that begin a round, besides those that begin an epoch.

    Returns:
        `(epochs, rounds, 2)` int32: a round's first step within its epoch, and the one after its last. Epochs of fewer
        rounds begin with empty ones: rehashing the same weights again changes nothing.
    """
    *begins, _ = np.cumsum([0, *steps_by_epoch]).tolist()
    starts = np.union1d(np.asarray(due, int), begins)
    parts = np.split(starts, np.searchsorted(starts, begins[1:]))
    by_epoch = [part - begin for part, begin in zip(parts, begins, strict=True)]
    rounds = np.zeros((len(begins), max(map(len, by_epoch)), 2), np.int32)
    for own, first, last in zip(rounds, by_epoch, steps_by_epoch, strict=True):
        own[-len(first) :] = np.stack([first, [*first[1:], last]], -1)
    return rounds
