"""What a run of `experiments.characters` is asked to do."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from experiments.characters.rows import CharactersRow
from experiments.process.checks import check_at_least, check_different, listed, one_of
from experiments.process.errors import UsageError
from experiments.training.rows import Row
from experiments.training.sampling_options import check_sampling
from experiments.training.schedules import Schedule
from experiments.training.timed_options import TimedOptions
from jaxapprox.registry import SAMPLERS, Registry

if TYPE_CHECKING:
    from experiments.characters.methods import TransformerLayers
    from experiments.training.method import TrainingMethod

METHODS: Registry[TrainingMethod[CharactersConfig, TransformerLayers]] = Registry(
    "method",
    exact="experiments.characters.methods:exact",
    mc="experiments.characters.methods:mc",
    kernel="experiments.characters.methods:kernel",
    adaptive="experiments.characters.methods:adaptive",
)
"""The training methods by name."""


@dataclasses.dataclass(frozen=True)
class CharactersConfig(TimedOptions):
    """Compares ways to train a small transformer that tells the next character of a text."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"blocks": 2, "features": 64, "evaluations": 6},
        "scratch": {"seconds": 120.0, "seeds": 3},
        "fine_tune": {"seconds": 60.0, "seeds": 3, "pretrain_steps": 2_000, "lrs": (3e-4,)},
    }

    known_methods: ClassVar[Mapping[str, Any]] = METHODS
    task: ClassVar[str] = "experiments.characters.task:make_task"
    row: ClassVar[type[Row]] = CharactersRow

    preset: Literal["quick", "scratch", "fine_tune"] = "quick"
    """quick: 2 blocks of 64, 5 s for each method, no evidence. scratch: 4 blocks of 128. fine_tune: the same, trained
    exactly on the source of modules of Python first."""
    methods: tuple[Annotated[str, one_of(METHODS)], ...] = ("exact", "mc", "kernel", "adaptive")
    """What to compare; the first is the one others are relative to."""
    text: Path | None = None
    """A text to train on, UTF-8, plain or .gz (default: the help texts that come with Python)."""
    min_count: int = 10
    """How often a character must occur to be told from others; rarer ones are all the same."""
    held_out_every: int = 20
    """One stretch of 16 windows in so many is held out."""
    windows: int = 250
    """Held-out windows that are evaluated."""
    validation: bool = False
    """Evaluate on as many other stretches, which are held out then, and never look at the test's: for choosing
    settings."""
    window: int = 64
    """Characters that an example predicts, each from those before it in the window."""
    blocks: int = 4
    features: int = 128
    heads: int = 4
    ratios: Annotated[tuple[float, ...], tyro.conf.arg(name="ratio")] = (0.5,)
    """Share of the rows that mc and kernel keep, in (0, 1]; several for a run of each."""
    samplers: Annotated[tuple[Annotated[str, one_of(SAMPLERS)], ...], tyro.conf.arg(name="sampler")] = ("systematic",)
    """How mc and kernel choose them; several for a run of each."""
    shares: tuple[float, ...] = (1.0, 0.5, 0.3, 0.1)
    """Of the rows, what adaptive chooses among for each layer: falling from 1."""
    budgets: Annotated[tuple[float, ...], tyro.conf.arg(name="budget")] = (0.025,)
    """Variance that adaptive may add to a layer's gradient, in terms of the batch's own; several for a run of each."""
    measure_every: int = 125
    """Steps from one measurement of adaptive to the next."""
    batch_sizes: Annotated[tuple[int, ...], tyro.conf.arg(name="batch-size")] = (32,)
    """Windows of a step; several for a run of each."""
    lrs: Annotated[tuple[float, ...], tyro.conf.arg(name="lr")] = (2e-3,)
    """Peak learning rate of AdamW; several for a run of each method with each, compiled once."""
    schedule: Schedule = "onecycle"
    beta2: float = 0.99
    """Of AdamW, how much of the gradients' mean squares is kept each step."""
    weight_decay: float = 0.1
    """Of kernels and embeddings, times the learning rate."""
    pretrain_steps: int = 0
    """First train exactly for so many steps on another text: once, for all methods and seeds, and not charged."""
    pretrain_text: Path | None = None
    """The other text (default: the source of modules of Python's library)."""
    pretrain_lr: float = 2e-3
    pretrain_batch_size: int = 32
    pretrained: Path | None = None
    """A file (.npz) that keeps what pretraining made, and from which a later run takes it (default: made anew)."""

    @property
    def ratio(self) -> float:
        """The only value of `ratios`. This property and the next two raise a UsageError if there are several."""
        return self._only("ratios")

    @property
    def sampler(self) -> str:
        """The only value of `samplers`."""
        return self._only("samplers")

    @property
    def budget(self) -> float:
        """The only value of `budgets`."""
        return self._only("budgets")

    @property
    def data_name(self) -> str:
        return "characters" if self.text is None else f"characters-{self.text.name.partition('.')[0]}"

    @property
    def measured(self) -> str:
        held_out = "stretches held out for choosing settings" if self.validation else "held-out stretches"
        return f"Of characters in {held_out}: the share whose network's first choice is right (%), and bits for each"

    def check(self) -> None:
        super().check()
        check_at_least(1, self, "min_count", "windows", "window", "blocks", "features", "heads", "measure_every")
        check_at_least(1, self, "pretrain_batch_size")
        check_at_least(0, self, "pretrain_steps")
        check_at_least(3, self, "held_out_every")
        if self.features % self.heads:
            raise UsageError(f"--features must be a multiple of --heads, {self.heads}, got {self.features}")
        if self.features % 2:
            raise UsageError(f"--features must be even, got {self.features}")
        check_sampling(self.ratios, self.samplers)
        for name in ("budgets", "shares"):
            check_different(name, getattr(self, name))
        falling = tuple(sorted(self.shares, reverse=True))
        if self.shares != falling or self.shares[0] != 1 or not self.shares[-1] > 0 or len(self.shares) < 2:
            raise UsageError(f"--shares must fall from 1 to more than 0, got {listed(self.shares)}")
        for budget in self.budgets:
            if not 0 < budget < float("inf"):
                raise UsageError(f"--budget must be a positive number, got {budget}")
        if not 0 <= self.weight_decay < float("inf"):
            raise UsageError(f"--weight-decay must be a number from 0, got {self.weight_decay}")
        if not 0 <= self.beta2 < 1:
            raise UsageError(f"--beta2 must be in [0, 1), got {self.beta2}")
        if not 0 < self.pretrain_lr < float("inf"):
            raise UsageError(f"--pretrain-lr must be a positive number, got {self.pretrain_lr}")
        if self.pretrain_steps == 0 and (self.pretrain_text or self.pretrained):
            given = "pretrain-text" if self.pretrain_text else "pretrained"
            raise UsageError(f"--pretrain-steps must be at least 1 with --{given}, got 0")
