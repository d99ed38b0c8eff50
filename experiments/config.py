"""What a training program is asked to do: the options that all share, and those of `experiments.cifar`."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import tyro

from jaxapprox.lsh import MOST_BITS


class UsageError(Exception):
    """What was asked for can't be done; the message is one line for the user, and the exit code 2."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """The options that every training program has."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    data: Literal["digits", "mnist", "cifar10"] = "cifar10"
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
    ratio: float = 0.5
    """Share of the rows that mc keeps, in (0, 1]."""
    sampler: Literal["topk", "uniform", "importance", "bernoulli", "systematic"] = "topk"
    active: float = 0.05
    """Share of a hashed layer's units that alsh activates for an example, in (0, 1]."""
    num_tables: int = 5
    num_bits: int = 6
    transform: Literal["l2", "sign", "simple"] = "l2"
    select: Literal["union", "count"] = "union"
    rehash_every: int = 100
    """Steps between rehashes, or 0 for never."""
    rehash_decay_after: int = 10_000
    """Steps after which there are --rehash-every-late steps between rehashes."""
    rehash_every_late: int = 1_000
    epochs: int = 15
    batch_size: int = 64
    lr: float = 0.2
    """Peak learning rate."""
    seeds: int = 1
    """How many seeds to run."""
    seed: int = 0
    """The first of them."""
    validation: bool = False
    """Evaluate on a tenth of the training set, held out, and never look at the test set: for choosing settings."""
    out: Path | None = None
    """Directory of the run (default: runs/<time>-<data>)."""

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_at_least(0, self, "seed", "rehash_every", "rehash_decay_after")
        check_at_least(1, self, "epochs", "batch_size", "seeds", "num_tables", "num_bits", "rehash_every_late")
        check_share(self, "ratio", "active")
        if self.num_bits > MOST_BITS:
            raise UsageError(f"--num-bits must be at most {MOST_BITS}, got {self.num_bits}")
        if not 0 < self.lr < float("inf"):
            raise UsageError(f"--lr must be a positive number, got {self.lr}")


@dataclasses.dataclass(frozen=True)
class Config(RunOptions):
    """Compares a ResNet-18 trained exactly, with sampled convolutions (mc) and with a hashed dense layer (alsh)."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar10": {},
        "quick": {"data": "digits", "width": 8, "epochs": 30, "batch_size": 32, "lr": 0.03},
        "table3": {"epochs": 50, "methods": ("exact", "mc", "alsh")},
    }

    preset: Literal["quick", "cifar10", "table3"] = "cifar10"
    """quick: digits, no download, 2 minutes on 2 cores. cifar10: the standard network. table3: the paper's setting."""
    methods: tuple[Literal["exact", "mc", "alsh"], ...] = ("exact", "mc")
    """What to compare; the first is the one others are relative to."""
    unit: Literal["channel", "edge"] = "channel"
    mode: Literal["forward", "backward", "straight_through"] = "forward"
    width: int = 64
    """Channels of the first stage; 64 is the standard ResNet-18."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage; these are ResNet-18's."""
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    recalibrate: bool = True
    """Re-estimate BatchNorm's statistics by exact forwards before evaluating a forward-sampled method."""
    recalibration_batches: int = 30

    @property
    def network(self) -> str:
        """What the network is called."""
        named = "ResNet-18" if self.blocks == Config.blocks else f"ResNet of {'-'.join(map(str, self.blocks))} blocks"
        return f"{named}, width {self.width}"

    def check(self) -> None:
        super().check()
        check_at_least(1, self, "width", "recalibration_batches")
        check_different("methods", self.methods)
        if not self.blocks or min(self.blocks) < 1:
            raise UsageError(f"--blocks must be one or more numbers from 1, got {' '.join(map(str, self.blocks))}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum must be in [0, 1), got {self.momentum}")
        if not 0 <= self.weight_decay < float("inf"):
            raise UsageError(f"--weight-decay must be a non-negative number, got {self.weight_decay}")


def check_different(name: str, values: tuple[Any, ...]) -> None:
    """Raises a UsageError unless an option of several values has one or more, all different."""
    if not values or len(set(values)) < len(values):
        got = " ".join(map(str, values)) or "none"
        raise UsageError(f"--{name} must be one or more different ones, got {got}")


def check_at_least(least: int, options: Any, *names: str) -> None:
    """Raises a UsageError for the first of these attributes of `options` that is less than `least`."""
    for name in names:
        if getattr(options, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(options, name)}")


def check_share(options: Any, *names: str) -> None:
    """Raises a UsageError for the first of these attributes of `options` that is not in (0, 1]."""
    for name in names:
        if not 0 < getattr(options, name) <= 1:
            raise UsageError(f"--{name.replace('_', '-')} must be in (0, 1], got {getattr(options, name)}")


_Options = TypeVar("_Options", bound=RunOptions)


def parse(program: str, options: type[_Options]) -> _Options:
    """The command line over the preset that it names. Bad usage exits with code 2, as does a check that fails.

    Args:
        program: its module's name.
        options: with an option `preset`, one of its `presets`; the first is the default.

    Raises:
        UsageError: as `RunOptions.check`.
    """
    before = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    before.add_argument("--preset", default=next(iter(options.presets)))
    preset = options.presets.get(before.parse_known_args()[0].preset, {})
    config = tyro.cli(options, prog=f"python -m {program}", default=options(**preset))
    config.check()
    return config
