"""What a run of `experiments.words` is asked to do."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from experiments.process.checks import check_at_least, check_different, check_names, one_of
from experiments.process.errors import UsageError
from experiments.training.rows import Row
from experiments.training.timed_options import TimedOptions
from experiments.words.rows import WordsRow
from jaxapprox.registry import Registry

if TYPE_CHECKING:
    from experiments.training.method import TrainingMethod
    from experiments.words.output_layers import MakeOutputLayer
    from experiments.words.proposals import MakeProposal

METHODS: Registry[TrainingMethod[WordsConfig, MakeOutputLayer]] = Registry(
    "method",
    exact="experiments.words.methods:exact",
    sampled="experiments.words.methods:sampled",
    hashed="experiments.words.methods:hashed",
)
"""The training methods by name."""

PROPOSALS: Registry[MakeProposal] = Registry(
    "proposal",
    log_uniform="experiments.words.proposals:log_uniform",
    uniform="experiments.words.proposals:uniform",
    frequency="experiments.words.proposals:frequency",
    in_batch="experiments.words.proposals:in_batch",
    mixture="experiments.words.proposals:mixture",
)
"""What candidates are drawn from, by name."""


@dataclasses.dataclass(frozen=True)
class WordsConfig(TimedOptions):
    """Compares ways to train an output layer of very many classes: telling each word of a text from its neighbours."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"subsample": 1e-3, "held_out_every": 20, "candidates": (128,), "num_bits": 8, "evaluations": 8},
        "dictionaries": {"seconds": 60.0, "seeds": 3},
    }

    known_methods: ClassVar[Mapping[str, Any]] = METHODS
    task: ClassVar[str] = "experiments.words.learner:make_task"
    row: ClassVar[type[Row]] = WordsRow

    preset: Literal["quick", "dictionaries"] = "quick"
    """quick: Python's help texts, 5 s for each method, no evidence. dictionaries: the README's setting, with the --text
    that docs/running.md says how to make."""
    methods: tuple[Annotated[str, one_of(METHODS)], ...] = ("exact", "sampled", "hashed")
    """What to compare; the first is the one others are relative to."""
    text: Path | None = None
    """A text to train on, UTF-8, plain or .gz, a unit a line (default: the help texts that come with Python)."""
    min_count: int = 2
    """How often a word must occur to be in the vocabulary; others are left out of the text."""
    window: int = 5
    """Neighbours on each side of a word, within its line."""
    subsample: float = 1e-4
    """word2vec's threshold: of words with a larger share of the text, places are left out at random; 0 for none."""
    held_out_every: int = 50
    """One line in so many is held out."""
    places: int = 4_000
    """Held-out places that are evaluated."""
    features: int = 128
    tied: bool = False
    """Use the embeddings as the weights of the classes as well."""
    optimizer: Literal["sgd", "momentum", "adagrad", "rowwise_adagrad", "adam"] = "rowwise_adagrad"
    """By rows (`jaxapprox.lazy`) wherever a gradient is: of the embeddings always."""
    candidates: tuple[int, ...] = (1_024,)
    """Negatives of a step, shared by its batch; several numbers for a run of each."""
    proposals: Annotated[tuple[Annotated[str, one_of(PROPOSALS)], ...], tyro.conf.arg(name="proposal")] = (
        "log_uniform",
    )
    """What they are drawn from; several for a run of each. in_batch: the batch's own labels, whatever --candidates.
    mixture: log_uniform and in_batch together."""
    correct_labels: bool = False
    """Take log(expected count) off the label's score too, as TensorFlow's sampled softmax does."""
    num_tables: int = 4
    num_bits: int = 12
    per_bucket: int = 4
    """Words that hashed takes from a bucket, at most."""
    queries: int = 16
    """Examples of a batch that hashed looks up."""
    keep_hits: int = 1
    """Steps for which hashed keeps what it has found."""
    rehash_every: int = 500
    lrs: Annotated[tuple[float, ...], tyro.conf.arg(name="lr")] = (0.3,)
    """Peak learning rate; several for a run of each method with each, compiled once."""

    @property
    def size(self) -> int:
        """The only value of `candidates`. This property and the next raise a UsageError if there are several."""
        return self._only("candidates")

    @property
    def proposal(self) -> str:
        """The only value of `proposals`."""
        return self._only("proposals")

    @property
    def data_name(self) -> str:
        return "words" if self.text is None else f"words-{self.text.name.partition('.')[0]}"

    @property
    def measured(self) -> str:
        return (
            "Exact, at held-out places: how often the word is among the ten of highest score (hit@10, %; ties count"
            " against it) or the first (hit@1, %), and its negative log-likelihood (nats)"
        )

    def check(self) -> None:
        super().check()
        check_at_least(1, self, "min_count", "window", "places", "features", "keep_hits")
        check_at_least(1, self, "num_tables", "num_bits", "per_bucket", "queries")
        check_at_least(2, self, "held_out_every")
        for name in ("candidates", "proposals"):
            check_different(name, getattr(self, name))
        check_names("proposals", self.proposals, PROPOSALS)
        if min(self.candidates) < 1:
            raise UsageError(f"--candidates must be at least 1, got {min(self.candidates)}")
        if not 0 <= self.subsample < float("inf"):
            raise UsageError(f"--subsample must be a number from 0, got {self.subsample}")
        if self.preset == "dictionaries" and self.text is None:
            raise UsageError("--text must be given for --preset dictionaries: docs/running.md says how to make it")
        from jaxapprox.lsh import MOST_BITS  # imports JAX: last, so that other slips are said at once

        if self.num_bits > MOST_BITS:
            raise UsageError(f"--num-bits must be at most {MOST_BITS}, got {self.num_bits}")
