"""What a run of `experiments.cifar` is asked to do."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

_PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"data": "digits", "width": 8, "epochs": 30, "batch_size": 32, "lr": 0.03},
    "cifar10": {"data": "cifar10", "width": 64, "epochs": 15, "batch_size": 128, "lr": 0.1},
    "table3": {"data": "cifar10", "width": 64, "epochs": 50, "batch_size": 128, "lr": 0.1},
}


class UsageError(Exception):
    """What was asked for can't be done; the message is one line for the user, and the exit code 2."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Trains a ResNet-18 exactly and with sampled convolutions, and compares accuracy and time.

    Options left at None take their value from the preset.
    """

    preset: Literal["quick", "cifar10", "table3"] = "cifar10"
    """quick: digits, no download, 2 minutes on 2 cores. cifar10: the standard network. table3: the paper's setting."""
    data: Literal["digits", "mnist", "cifar10"] | None = None
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
    methods: tuple[Literal["exact", "mc"], ...] = ("exact", "mc")
    """What to compare; the first is the one others are relative to."""
    ratio: float = 0.5
    """Share of the rows that mc keeps, in (0, 1]."""
    sampler: Literal["topk", "uniform", "importance", "bernoulli", "systematic"] = "systematic"
    unit: Literal["channel", "edge"] = "channel"
    mode: Literal["forward", "backward", "straight_through"] = "backward"
    width: int | None = None
    """Channels of the first stage; 64 is the standard ResNet-18."""
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
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

    def resolved(self) -> "Config":
        """This configuration with the preset's values filled in, checked.

        Raises:
            UsageError: naming the flag, its value and what it must be.
        """
        defaults = _PRESETS[self.preset]
        config = dataclasses.replace(self, **{k: v for k, v in defaults.items() if getattr(self, k) is None})
        for name in ("width", "epochs", "batch_size", "seeds", "recalibration_batches"):
            if getattr(config, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(config, name)}")
        if not 0 < config.ratio <= 1:
            raise UsageError(f"--ratio must be in (0, 1], got {config.ratio}")
        if not config.methods or len(set(config.methods)) < len(config.methods):
            raise UsageError(f"--methods must be one or more different methods, got {' '.join(config.methods) or 'none'}")
        if not 0 < config.lr < float("inf"):
            raise UsageError(f"--lr must be a positive number, got {config.lr}")
        if not 0 <= config.momentum < 1:
            raise UsageError(f"--momentum must be in [0, 1), got {config.momentum}")
        if not 0 <= config.weight_decay < float("inf"):
            raise UsageError(f"--weight-decay must be a non-negative number, got {config.weight_decay}")
        if config.seed < 0:
            raise UsageError(f"--seed must be a non-negative integer, got {config.seed}")
        return config
