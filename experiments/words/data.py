"""The text of a run: its vocabulary, what is trained on, and the held-out places, as arrays for JAX."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.words.config import WordsConfig
from experiments.words.places import Places, Stretch, split
from experiments.words.text import load_text


class WordsData(NamedTuple):
    """A text, divided.

    Attributes:
        name: for titles.
        vocabulary: the words by how common they are: the classes.
        frequencies: `(words,)` on the host, how often each is a label in training, and once more, so that none is 0.
        train: every word of it is a place to train on.
        test: the held-out places.
    """

    name: str
    vocabulary: tuple[str, ...]
    frequencies: np.ndarray
    train: Stretch
    test: Places


def load_data(config: WordsConfig) -> WordsData:
    """Loads the text that the options ask for.

    Raises:
        UsageError: if it can't be read, is too short, or has too few different words.
    """
    text = load_text(config.text, min_count=config.min_count)
    train, test = split(
        text,
        window=config.window,
        held_out_every=config.held_out_every,
        places=config.places,
        subsample=config.subsample,
    )
    labels = train.tokens[config.window : -config.window]
    frequencies = 1 + np.bincount(labels, minlength=len(text.vocabulary))
    return WordsData(text.name, text.vocabulary, frequencies, *jax.tree.map(jnp.asarray, (train, test)))
