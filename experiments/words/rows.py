"""The lines of metrics.jsonl that `experiments.words` writes."""

import dataclasses
from typing import Any, ClassVar

from experiments.training.rows import Measure, Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordsRow(Row):
    """An evaluation at held-out places; an epoch is the training since the one before."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("hit_at_10", "hit@10 (%)"),
        Measure("hit_at_1", "hit@1 (%)"),
        Measure("test_loss", "negative log-likelihood", 1),
        Measure("hash_recall", "ten best words found by the hash (%)"),
    )
    units: ClassVar[str] = "evaluations"

    steps: int  # of the run so far
    hit_at_1: float
    hit_at_10: float
    test_loss: float
    hash_recall: float | None  # of the ten words of highest score, which share the tables find; of a method that hashes

    @classmethod
    def of(cls, **columns: Any) -> "WordsRow":
        """Steps are a whole number, and most methods hash nothing."""
        return cls(**{"hash_recall": None, **columns, "steps": int(columns["steps"])})

    @property
    def when(self) -> str:
        return f"step {self.steps}"
