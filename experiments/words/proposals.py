"""What the candidates of `experiments.words` are drawn from."""

from typing import Protocol

import numpy as np

from experiments.process.errors import UsageError
from experiments.words.config import WordsConfig
from jaxapprox import softmax
from jaxapprox.softmax import Proposal


class MakeProposal(Protocol):
    """Makes a proposal from the options, with one value of each, and the words' frequencies in training."""

    def __call__(self, config: WordsConfig, frequencies: np.ndarray) -> Proposal: ...


def log_uniform(config: WordsConfig, frequencies: np.ndarray) -> Proposal:
    """Zipf's law: the vocabulary is sorted by how common its words are."""
    return softmax.log_uniform(len(frequencies), _size(config, frequencies))


def uniform(config: WordsConfig, frequencies: np.ndarray) -> Proposal:
    """Every word as likely."""
    return softmax.uniform(len(frequencies), _size(config, frequencies))


def frequency(config: WordsConfig, frequencies: np.ndarray) -> Proposal:
    """As often as in training, to the power of 3/4 (word2vec)."""
    return softmax.by_frequency(frequencies, _size(config, frequencies), power=0.75)


def in_batch(config: WordsConfig, frequencies: np.ndarray) -> Proposal:
    """The batch's own labels."""
    return softmax.in_batch(frequencies, config.batch_size)


def mixture(config: WordsConfig, frequencies: np.ndarray) -> Proposal:
    """By Zipf's law, and the batch's own labels, whose rows are read anyway."""
    return softmax.mixture(log_uniform(config, frequencies), in_batch(config, frequencies))


def _size(config: WordsConfig, frequencies: np.ndarray) -> int:
    if config.size > len(frequencies):
        raise UsageError(f"--candidates must be at most the {len(frequencies)} words of the text, got {config.size}")
    return config.size
