"""The options of the programs that train on images."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

import tyro

from experiments.data import check_data
from experiments.data.options import DataOptions
from experiments.process.checks import check_at_least, check_share, one_of
from experiments.process.errors import UsageError
from experiments.training.options import RunOptions
from experiments.training.rows import ImageRow, Row
from experiments.training.sampling_options import check_sampling
from jaxapprox.registry import SAMPLERS


@dataclasses.dataclass(frozen=True)
class ImageOptions(RunOptions, DataOptions):
    """The options of the programs that train on images."""

    row: ClassVar[type[Row]] = ImageRow

    images: int = 0
    """Train on the first so many images only; 0 for all."""
    ratios: Annotated[tuple[float, ...], tyro.conf.arg(name="ratio")] = (0.5,)
    """Share of the rows that mc keeps, in (0, 1]; several for a run of each."""
    samplers: Annotated[tuple[Annotated[str, one_of(SAMPLERS)], ...], tyro.conf.arg(name="sampler")] = ("topk",)
    """How mc chooses them; several for a run of each."""
    active: float = 0.05
    """Share of a hashed layer's units that alsh activates for an example, in (0, 1]."""
    num_tables: int = 5
    num_bits: int = 6
    transform: Literal["l2", "sign", "simple"] = "l2"
    select: Literal["union", "count"] = "union"
    epochs: int = 15
    steps: int | None = None
    """Steps after which training ends, in the last of --epochs; schedules end there (default: whole epochs)."""
    batch_size: int = 64
    validation: bool = False
    """Evaluate on a tenth of the training set, held out, and never look at the test set: for choosing settings."""

    @property
    def data_name(self) -> str:
        return self.data

    @property
    def length(self) -> str:
        return f"{self.epochs} epochs" if self.steps is None else f"{self.steps} steps"

    @property
    def measured(self) -> str:
        return f"Accuracy (%) on {'a held-out tenth of the training set' if self.validation else 'the test set'}"

    @property
    def ratio(self) -> float:
        """The only value of `ratios`. This property and the next raise a UsageError if there are several."""
        return self._only("ratios")

    @property
    def sampler(self) -> str:
        """The only value of `samplers`."""
        return self._only("samplers")

    def check(self) -> None:
        check_data(self.data)
        super().check()
        check_at_least(0, self, "images")
        check_at_least(1, self, "batch_size", "num_tables", "num_bits")
        check_share(self, "active")
        check_sampling(self.ratios, self.samplers)
        from jaxapprox.lsh import MOST_BITS  # imports JAX: last, so that other slips are said at once

        if self.num_bits > MOST_BITS:
            raise UsageError(f"--num-bits must be at most {MOST_BITS}, got {self.num_bits}")
