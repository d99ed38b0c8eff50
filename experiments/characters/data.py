"""The text of a run as numbers: its characters, what is trained on, and what is held out."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.characters.config import CharactersConfig
from experiments.data.text import HELP_TEXTS, SOURCES, file_lines, help_texts, module_sources
from experiments.process.checks import flag
from experiments.process.errors import UsageError

RARE = "\N{REPLACEMENT CHARACTER}"  # stands for all that are
_WINDOWS = 16  # of a stretch
_SEED = 17  # of what is drawn once: the same for every run


class CharactersData(NamedTuple):
    """A text, divided into stretches, some of which are held out.

    Attributes:
        name: for titles.
        vocabulary: the characters, `RARE` first.
        train: `(stretches, 16 window + 1)` int32, of which every `window` characters after one are an example.
        test: `(windows, window + 1)` int32.
    """

    name: str
    vocabulary: str
    train: jax.Array
    test: jax.Array


def load_data(config: CharactersConfig) -> tuple[CharactersData, CharactersData | None]:
    """The text that the options ask for, and the one to train on first, if any, in the vocabulary of both.

    Nothing is held out of the text that comes first.

    Raises:
        UsageError: if one can't be read or is too short, or has too few different characters.
    """
    name, text = _read(config.text, "text", HELP_TEXTS)
    if not config.pretrain_steps:
        return _divided(config, name, text, vocabulary_of(text, config.min_count)), None
    other_name, other = _read(config.pretrain_text, "pretrain_text", SOURCES)
    data = _divided(config, name, text, vocabulary_of(text + other, config.min_count))
    whole = stretches_of(as_numbers(other, data.vocabulary), config.window)
    if not len(whole):
        raise _too_short("pretrain_text", other_name, config.window, stretches=1)
    return data, data._replace(name=other_name, train=jnp.asarray(whole))


def vocabulary_of(text: str, min_count: int) -> str:
    """`RARE`, and in order the characters that occur as often.

    Raises:
        UsageError: if these are less than two.
    """
    counts = Counter(text)
    known = sorted(character for character, count in counts.items() if count >= min_count and character != RARE)
    if len(known) < 2:
        found = f"got {min_count}: {len(known)} occur as often"
        raise UsageError(f"--min-count must leave a vocabulary of at least 2 characters, {found}")
    return "".join([RARE, *known])


def as_numbers(text: str, vocabulary: str) -> np.ndarray:
    """`(n,)` int32, each character's place in the vocabulary, 0 for those that are not in it."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    places = np.zeros(1 + max(map(ord, vocabulary + text)), np.int32)
    places[[ord(character) for character in vocabulary]] = np.arange(len(vocabulary))
    return places[codes]


def stretches_of(tokens: np.ndarray, window: int) -> np.ndarray:
    """`(stretches, 16 window + 1)`, one after another; what is left over is left out."""
    length = _WINDOWS * window + 1
    return tokens[: len(tokens) // length * length].reshape(-1, length)


def divide(
    tokens: np.ndarray, *, window: int, held_out_every: int, windows: int, validation: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """What is trained on and what is evaluated: see `CharactersData`; None where there is too little text.

    Stretches are drawn once, by NumPy's generator from a fixed seed.

    Args:
        tokens: `(n,)`.
        window: characters of an example.
        held_out_every: one of so many stretches is held out.
        windows: how many of their windows are evaluated, at most.
        validation: hold out as many others too, and evaluate these.
    """
    stretches = stretches_of(tokens, window)
    order = np.random.default_rng(_SEED).permutation(len(stretches))
    part = np.arange(len(stretches)) % held_out_every
    train, evaluated = order[part > int(validation)], order[part == int(validation)]
    if not len(train) or not len(evaluated):
        return None
    starts = window * np.arange(_WINDOWS)
    cut = stretches[evaluated][:, starts[:, None] + np.arange(window + 1)]
    return stretches[np.sort(train)], cut.reshape(-1, window + 1)[:windows]


def _read(path: Path | None, option: str, embedded: str) -> tuple[str, str]:
    """A text's name, and the text."""
    if path is not None:
        return path.name, "".join(file_lines(path, option))
    return embedded, "\n\n".join(help_texts()) if embedded == HELP_TEXTS else module_sources()


def _divided(config: CharactersConfig, name: str, text: str, vocabulary: str) -> CharactersData:
    parts = divide(
        as_numbers(text, vocabulary),
        window=config.window,
        held_out_every=config.held_out_every,
        windows=config.windows,
        validation=config.validation,
    )
    if parts is None:
        raise _too_short("text", name, config.window, stretches=3)
    return CharactersData(name, vocabulary, *map(jnp.asarray, parts))


def _too_short(option: str, name: str, window: int, *, stretches: int) -> UsageError:
    least = stretches * (_WINDOWS * window + 1)
    return UsageError(f"{flag(option)} must have at least {least} characters for a --window of {window}: {name}")
