"""What a run of `experiments.cifar` is asked to do."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxapprox.lsh import MOST_BITS

_PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"data": "digits", "width": 8, "epochs": 30, "batch_size": 32, "lr": 0.03},
    "cifar10": {},
    "table3": {"epochs": 50, "methods": ("exact", "mc", "alsh")},
}


class UsageError(Exception):
    """What was asked for can't be done; the message is one line for the user, and the exit code 2."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Compares a ResNet-18 trained exactly, with sampled convolutions (mc) and with a hashed dense layer (alsh)."""

    preset: Literal["quick", "cifar10", "table3"] = "cifar10"
    """quick: digits, no download, 2 minutes on 2 cores. cifar10: the standard network. table3: the paper's setting."""
    data: Literal["digits", "mnist", "cifar10"] = "cifar10"
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
    methods: tuple[Literal["exact", "mc", "alsh"], ...] = ("exact", "mc")
    """What to compare; the first is the one others are relative to."""
    ratio: float = 0.5
    """Share of the rows that mc keeps, in (0, 1]."""
    sampler: Literal["topk", "uniform", "importance", "bernoulli", "systematic"] = "topk"
    unit: Literal["channel", "edge"] = "channel"
    mode: Literal["forward", "backward", "straight_through"] = "forward"
    active: float = 0.05
    """Share of the classifier's hidden units that alsh activates for an example, in (0, 1]."""
    num_tables: int = 5
    num_bits: int = 6
    transform: Literal["l2", "sign", "simple"] = "l2"
    select: Literal["union", "count"] = "union"
    rehash_every: int = 100
    """Steps between rehashes, or 0 for never."""
    rehash_decay_after: int = 10_000
    """Steps after which there are --rehash-every-late steps between rehashes."""
    rehash_every_late: int = 1_000
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
        check_at_least(0, self, "seed", "rehash_every", "rehash_decay_after")
        check_at_least(1, self, "width", "epochs", "batch_size", "seeds", "recalibration_batches")
        check_at_least(1, self, "num_tables", "num_bits", "rehash_every_late")
        check_share(self, "ratio", "active")
        if self.num_bits > MOST_BITS:
            raise UsageError(f"--num-bits must be at most {MOST_BITS}, got {self.num_bits}")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise UsageError(f"--methods must be one or more different ones, got {' '.join(self.methods) or 'none'}")
        if not 0 < self.lr < float("inf"):
            raise UsageError(f"--lr must be a positive number, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum must be in [0, 1), got {self.momentum}")
        if not 0 <= self.weight_decay < float("inf"):
            raise UsageError(f"--weight-decay must be a non-negative number, got {self.weight_decay}")


def check_at_least(least: int, options: Any, *names: str) -> None:
    """Raises a UsageError for the first of these attributes of `options` that is less than `least`."""
    for name in names:
        if getattr(options, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(options, name)}")


def check_share(options: Any, *names: str) -> None:
    """Raises a UsageError for the first of these attributes of `options` that is not in (0, 1]."""
    for name in names:
        if not 0 < getattr(options, name) <= 1:
            raise UsageError(f"--{name} must be in (0, 1], got {getattr(options, name)}")


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
