"""The training methods of `experiments.words`: how the output layer is trained."""

import functools

import numpy as np

from experiments.process.checks import listed
from experiments.process.errors import UsageError
from experiments.training.method import training_method
from experiments.words import output_layers
from experiments.words.config import PROPOSALS, WordsConfig
from experiments.words.output_layers import MakeOutputLayer, OutputLayer


def _exact_note(config: WordsConfig) -> str:
    return "exact: all words, in blocks; optimizer and gradient of the output layer dense."


@training_method(sweeps=("batch_sizes",), note=_exact_note)
def exact(config: WordsConfig) -> MakeOutputLayer:
    """The softmax over all words."""
    return lambda frequencies: output_layers.exact()


def _sampled_note(config: WordsConfig) -> str:
    corrected = ", label's score corrected" if config.correct_labels else ""
    return (
        f"sampled: {listed(config.candidates)} candidates of the batch, {listed(config.proposals)}{corrected};"
        " its training loss is that of the candidates."
    )


@training_method(sweeps=("batch_sizes", "candidates", "proposals"), note=_sampled_note)
def sampled(config: WordsConfig) -> MakeOutputLayer:
    """A sampled softmax with candidates that the batch shares."""

    def make(frequencies: np.ndarray) -> OutputLayer:
        proposal = PROPOSALS[config.proposal](config, frequencies)
        return output_layers.sampled(proposal, correct_labels=config.correct_labels)

    return make


def _hashed_note(config: WordsConfig) -> str:
    return (
        f"hashed: as sampled, and what {config.queries} examples find, up to {config.per_bucket} words a bucket, in"
        f" {config.num_tables} tables of {config.num_bits} bits; kept for {config.keep_hits} step(s)."
    )


@training_method(sweeps=("batch_sizes", "candidates", "proposals"), note=_hashed_note)
def hashed(config: WordsConfig) -> MakeOutputLayer:
    """A softmax over words that a hash finds and others that are drawn."""
    if config.queries > config.batch_size:
        raise UsageError(f"--queries must be at most the batch size, {config.batch_size}, got {config.queries}")
    if config.correct_labels:
        raise UsageError("--correct-labels must be left out for hashed: a hit has no expected count")
    layer = functools.partial(
        output_layers.hashed,
        num_tables=config.num_tables,
        num_bits=config.num_bits,
        per_bucket=config.per_bucket,
        queries=config.queries,
        keep=config.keep_hits,
        rehashes=config.rehash_every > 0,
    )

    def make(frequencies: np.ndarray) -> OutputLayer:
        if config.per_bucket > len(frequencies):
            words = f"the {len(frequencies)} words of the text"
            raise UsageError(f"--per-bucket must be at most {words}, got {config.per_bucket}")
        return layer(PROPOSALS[config.proposal](config, frequencies), len(frequencies))

    return make
