"""Places in a text where a word is to be told from its neighbours: those to train on, and those held out."""

from typing import Any, NamedTuple

import numpy as np

from experiments.process.errors import UsageError
from experiments.words.text import Text

_SEED = 17  # of what is drawn once: the same for every run


Array = Any
"""Of NumPy, or of JAX."""


class Stretch(NamedTuple):
    """A part of a text, each of whose words is a place.

    Attributes:
        tokens: `(n + 2 window,)` int32, a window of 0 before and after it.
        lines: `(n + 2 window,)` int32, which line each is in; -1 for what is before and after it.
    """

    tokens: Array
    lines: Array


class Places(NamedTuple):
    """Places with their neighbours.

    Attributes:
        contexts: `(n, 2 window)` int32, the words before and after each, -1 where its line has none.
        labels: `(n,)` int32, the words themselves.
    """

    contexts: Array
    labels: Array


def split(text: Text, *, window: int, held_out_every: int, places: int, subsample: float) -> tuple[Stretch, Places]:
    """What is trained on, and the places that are held out with their lines.

    Common words are thinned out everywhere (`keep_share`), then lines of a single word left out, and one line in
    `held_out_every` held out. All of it is drawn once, by NumPy's generator from a fixed seed.

    Args:
        text: loaded.
        window: words on each side that are neighbours.
        held_out_every: one of so many lines is held out.
        places: how many of their places are kept, at most.
        subsample: see `keep_share`.

    Raises:
        UsageError: if the text is shorter than a window, or nothing is left to train on or held out.
    """
    if len(text.tokens) < 2 * window + 1:
        found = f"{len(text.tokens)} in {text.name}"
        raise UsageError(f"--text must have at least the {2 * window + 1} words of a --window of {window}, got {found}")
    keys = np.random.SeedSequence(_SEED).spawn(3)
    thinning, choosing, placing = map(np.random.default_rng, keys)
    kept = thinning.random(len(text.tokens)) < keep_share(text.counts, subsample)[text.tokens]
    tokens, lines = text.tokens[kept], text.lines[kept]
    several = np.bincount(lines, minlength=1)[lines] > 1
    tokens, lines = tokens[several], lines[several]
    own_lines = np.unique(lines)
    held_out_lines = choosing.permutation(own_lines)[::held_out_every]
    held_out = np.isin(lines, held_out_lines)
    if not held_out.any() or held_out.all():
        found = f"{len(own_lines)} in {text.name}, one in {held_out_every} of them held out"
        raise UsageError(f"--text must have at least 2 lines of several words, got {found}")
    train = Stretch(*(_padded(a[~held_out], window, value) for a, value in ((tokens, 0), (lines, -1))))
    rest = Stretch(*(_padded(a[held_out], window, value) for a, value in ((tokens, 0), (lines, -1))))
    count = int(held_out.sum())
    chosen = np.sort(placing.permutation(count)[:places])
    return train, places_at(rest, chosen, window)


def keep_share(counts: np.ndarray, subsample: float) -> np.ndarray:
    """Which share of each word's places word2vec keeps: min(1, (sqrt(f / t) + 1) t / f).

    Args:
        counts: `(words,)`, how often each occurs.
        subsample: t, against the word's share f of the text; 0 to keep all.

    Returns:
        `(words,)` float64.
    """
    if not subsample:
        return np.ones(len(counts))
    excess = counts / counts.sum() / subsample
    return np.minimum(1, (np.sqrt(excess) + 1) / excess)


def place_count(stretch: Stretch, window: int) -> int:
    """How many places a stretch has."""
    return stretch.tokens.shape[0] - 2 * window


def places_at(stretch: Stretch, positions: Array, window: int) -> Places:
    """Places of a stretch with their neighbours, by NumPy or, where the arrays are JAX's, by JAX.

    Args:
        stretch: of a text.
        positions: `(n,)` int32 from 0 to before `place_count`.
        window: that the stretch was made with.
    """
    where = positions.__array_namespace__().where
    offsets = np.delete(np.arange(2 * window + 1, dtype=np.int32), window)
    near, centre = positions[:, None] + offsets[None], positions + window
    together = stretch.lines[near] == stretch.lines[centre][:, None]
    return Places(where(together, stretch.tokens[near], -1), stretch.tokens[centre])


def _padded(values: np.ndarray, window: int, value: int) -> np.ndarray:
    return np.pad(values, window, constant_values=value)
