"""The lines of metrics.jsonl: what each evaluation of a seed has found."""

import dataclasses
import re
from typing import Any, ClassVar, NamedTuple, TypeVar

_Self = TypeVar("_Self", bound="Row")


class Measure(NamedTuple):
    """A column that says how good a network is.

    Attributes:
        column: of metrics.jsonl.
        title: for tables and axes.
        scale: what its values are multiplied by there: 100 for per cent.
    """

    column: str
    title: str
    scale: float = 100

    def said(self, row: "Row") -> str:
        """The value in a row with its title, such as "accuracy 93.20%"."""
        return f"{self.name} {self.of(row):.2f}{'%' if '%' in self.title else ''}"

    @property
    def name(self) -> str:
        """The title without its unit."""
        return re.sub(r" \(.*", "", self.title)

    def of(self, row: "Row") -> float | None:
        """The value in a row, scaled; None where that method has none."""
        value = getattr(row, self.column)
        return None if value is None else self.scale * value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One evaluation of one seed, at the end of an epoch; a program's own kind of row adds its measures.

    Seconds are cumulative over the run's epochs, and leave compilation out.

    Attributes:
        measures: of the program, the one that methods are compared by first.
        units: what so many of them are called.
        diagnosed: the named tuple that a layer's diagnostics are.
    """

    measures: ClassVar[tuple[Measure, ...]]
    units: ClassVar[str] = "epochs"
    diagnosed: ClassVar[str] = "jaxapprox.diagnostics.Diagnostics"

    method: str  # the name of the setting: the method's, with the values of the options that have several
    seed: int
    epoch: int
    train_loss: float  # mean over the epoch's steps
    diagnostics: dict[str, dict[str, float]]  # mean over the epoch's steps, of layers by their names
    train_seconds: float  # recalibration included
    recalibrate_seconds: float
    step_seconds: float  # of this epoch, mean, recalibration left out
    compile_seconds: float  # of the method, once for all its seeds

    @classmethod
    def of(cls: type[_Self], **columns: Any) -> _Self:
        """The row of these columns, with what an evaluation may leave out."""
        return cls(**columns)

    @property
    def when(self) -> str:
        """How far training had come."""
        return f"epoch {self.epoch}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepRow(Row):
    """An evaluation of a program whose training is counted in steps; an epoch is the training since the one before."""

    units: ClassVar[str] = "evaluations"

    steps: int  # of the run so far

    @classmethod
    def of(cls: type[_Self], **columns: Any) -> _Self:
        """Steps are a whole number."""
        return cls(**{**columns, "steps": int(columns["steps"])})

    @property
    def when(self) -> str:
        return f"step {self.steps}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRow(Row):
    """An epoch of a network that classifies images."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("test_accuracy", "accuracy (%)"),
        Measure("test_accuracy_uncalibrated", "with training's BatchNorm statistics"),
        Measure("test_accuracy_hashed", "through the hash"),
    )

    test_accuracy: float
    test_accuracy_uncalibrated: float  # with the BatchNorm statistics gathered in training
    test_accuracy_hashed: float | None  # evaluated through the hash, of a method that hashes

    @classmethod
    def of(cls, **columns: Any) -> "ImageRow":
        """Where no statistics were re-estimated, both accuracies are the same."""
        found = {"test_accuracy_uncalibrated": columns["test_accuracy"], "test_accuracy_hashed": None, **columns}
        return cls(**found)
