"""The lines of metrics.jsonl that `experiments.characters` writes."""

import dataclasses
from typing import ClassVar

from experiments.training.rows import Measure, StepRow


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharactersRow(StepRow):
    """An evaluation on held-out windows."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("test_accuracy", "accuracy (%)"),
        Measure("test_bits", "bits per character", 1),
    )
    diagnosed: ClassVar[str] = "experiments.characters.control.SampledKernel"

    test_accuracy: float
    test_bits: float
