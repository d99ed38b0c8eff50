"""What a run of `experiments.cifar` is asked to do."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, Literal

import tyro

_PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"data": "digits", "width": 8, "epochs": 30, "batch_size": 32, "lr": 0.03},
    "cifar10": {},
    "table3": {"epochs": 50},
}


class UsageError(Exception):
    """What was asked for can't be done; the message is one line for the user, and the exit code 2."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Trains a ResNet-18 exactly and with sampled convolutions, and compares accuracy and time."""

    preset: Literal["quick", "cifar10", "table3"] = "cifar10"
    """quick: digits, no download, 2 minutes on 2 cores. cifar10: the standard network. table3: the paper's setting."""
    data: Literal["digits", "mnist", "cifar10"] = "cifar10"
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
    methods: tuple[Literal["exact", "mc"], ...] = ("exact", "mc")
    """What to compare; the first is the one others are relative to."""
    ratio: float = 0.5
    """Share of the rows that mc keeps, in (0, 1]."""
    sampler: Literal["topk", "uniform", "importance", "bernoulli", "systematic"] = "topk"
    unit: Literal["channel", "edge"] = "channel"
    mode: Literal["forward", "backward", "straight_through"] = "forward"
    width: int = 64
    """Channels of the first stage; 64 is the standard ResNet-18."""
    epochs: int = 15
    batch_size: int = 64
    lr: float = 0.2
    """Peak learning rate."""
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seeds: int = 1
    """How many seeds to run."""
    seed: int = 0
    """The first of them."""
    recalibrate: bool = True
    """Re-estimate BatchNorm's statistics by exact forwards before evaluating a forward-sampled method."""
    recalibration_batches: int = 30
    validation: bool = False
    """Evaluate on a tenth of the training set, held out, and never look at the test set: for choosing settings."""
    out: Path | None = None
    """Directory of the run (default: runs/<time>-<data>)."""

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        for name in ("width", "epochs", "batch_size", "seeds", "recalibration_batches"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.ratio <= 1:
            raise UsageError(f"--ratio must be in (0, 1], got {self.ratio}")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise UsageError(f"--methods must be one or more different ones, got {' '.join(self.methods) or 'none'}")
        if not 0 < self.lr < float("inf"):
            raise UsageError(f"--lr must be a positive number, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum must be in [0, 1), got {self.momentum}")
        if not 0 <= self.weight_decay < float("inf"):
            raise UsageError(f"--weight-decay must be a non-negative number, got {self.weight_decay}")
        if self.seed < 0:
            raise UsageError(f"--seed must be a non-negative integer, got {self.seed}")


def parse(program: str) -> Config:
    """The command line over the preset that it names. Bad usage exits with code 2, as does a check that fails.

    Raises:
        UsageError: as `Config.check`.
    """
    before = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    before.add_argument("--preset", default="cifar10")
    preset = before.parse_known_args()[0].preset
    config = tyro.cli(Config, prog=f"python -m {program}", default=Config(**_PRESETS.get(preset, {})))
    config.check()
    return config
