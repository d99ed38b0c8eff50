"""The lines of metrics.jsonl that `experiments.characters` writes."""

import dataclasses
from typing import Any, ClassVar

from experiments.training.rows import Measure, Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharactersRow(Row):
    """An evaluation on held-out windows; an epoch is the training since the one before."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("test_accuracy", "next character right (%)"),
        Measure("test_bits", "bits per character", 1),
    )
    units: ClassVar[str] = "evaluations"

    steps: int  # of the run so far
    test_accuracy: float
    test_bits: float

    @classmethod
    def of(cls, **columns: Any) -> "CharactersRow":
        """Steps are a whole number."""
        return cls(**{**columns, "steps": int(columns["steps"])})

    @property
    def when(self) -> str:
        return f"step {self.steps}"
