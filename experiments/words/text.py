"""A text as numbers: words by how common they are, line by line."""

import array
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.text import HELP_TEXTS, file_lines, help_texts
from experiments.process.errors import UsageError


class Text(NamedTuple):
    """The words of a text that are in its vocabulary; others are left out, as if they were not there.

    Attributes:
        name: for titles.
        vocabulary: the words, the most common first, those as common as each other in alphabetical order.
        counts: `(words,)` int64, how often each occurs.
        tokens: `(n,)` int32, the text as places in the vocabulary.
        lines: `(n,)` int32, which line each is in; never less than the one before.
    """

    name: str
    vocabulary: tuple[str, ...]
    counts: np.ndarray
    tokens: np.ndarray
    lines: np.ndarray


def load_text(path: Path | None, *, min_count: int = 2) -> Text:
    """Reads a text: lower-case words of the letters a to z, everything else separates them.

    Args:
        path: of a UTF-8 file, plain or (named *.gz) compressed, whose lines are its units; None for the help texts that
            come with Python (`pydoc_data.topics`), whose paragraphs are. These differ a little from version to version.
        min_count: how often a word must occur to be in the vocabulary.

    Raises:
        UsageError: if the file can't be read or is no UTF-8, or fewer than two words occur as often.
    """
    lines = _paragraphs() if path is None else file_lines(path)
    name = HELP_TEXTS if path is None else path.name
    text = to_text(name, lines, min_count=min_count)
    if len(text.vocabulary) < 2:
        found = f"{len(text.vocabulary)} of {name} occur as often"
        raise UsageError(f"--min-count must leave a vocabulary of at least 2 words, got {min_count}: {found}")
    return text


def to_text(name: str, lines: Iterable[str], *, min_count: int) -> Text:
    """The text of these lines; see `load_text`."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # the next word that is new gets the next number
    found, lengths = array.array("i"), array.array("i")
    for line in lines:
        before = len(found)
        found.extend(map(numbers.__getitem__, re.findall("[a-z]+", line.lower())))
        lengths.append(len(found) - before)
    tokens = np.frombuffer(found, np.int32) if found else np.zeros(0, np.int32)
    words = np.array(list(numbers), str)
    counts = np.bincount(tokens, minlength=len(words))
    order = np.lexsort((words, -counts))
    order = order[counts[order] >= min_count]
    places = np.full(len(words), -1, np.int32)
    places[order] = np.arange(len(order))
    tokens = places[tokens]
    of_line = np.repeat(np.arange(len(lengths), dtype=np.int32), np.frombuffer(lengths, np.int32) if lengths else 0)
    known = tokens >= 0
    return Text(name, tuple(words[order].tolist()), counts[order], tokens[known], of_line[known])


def _paragraphs() -> Iterator[str]:
    for text in help_texts():
        yield from re.split(r"\n\s*\n", text)
