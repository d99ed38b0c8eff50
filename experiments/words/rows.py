"""The lines of metrics.jsonl that `experiments.words` writes."""

import dataclasses
from typing import Any, ClassVar

from experiments.training.rows import Measure, StepRow


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordsRow(StepRow):
    """An evaluation at held-out places."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("hit_at_10", "hit@10 (%)"),
        Measure("hit_at_1", "hit@1 (%)"),
        Measure("test_loss", "negative log-likelihood", 1),
        Measure("hash_recall", "ten best words found by the hash (%)"),
    )

    hit_at_1: float
    hit_at_10: float
    test_loss: float
    hash_recall: float | None  # of the ten words of highest score, which share the tables find; of a method that hashes

    @classmethod
    def of(cls, **columns: Any) -> "WordsRow":
        """Most methods hash nothing."""
        return super().of(**{"hash_recall": None, **columns})
