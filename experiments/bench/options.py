"""What `experiments.bench` is asked to do."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from experiments.bench.parts import PARTS
from experiments.bench.peer_process import check_interpreter
from experiments.process.checks import check_at_least, listed
from experiments.process.errors import UsageError

if TYPE_CHECKING:
    _PartName = str
else:
    _PartName = Literal[tuple(PARTS)]


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measures this library's speed against its own exact form, plain Flax and PyTorch."""

    width: int = 64
    batch_size: int = 128
    ratios: tuple[float, ...] = (0.5, 0.25, 0.1)
    rounds: int = 3
    """How many times everything is measured, in turn."""
    torch_python: Path = Path(sys.executable)
    """An interpreter that has PyTorch, where this one has not."""
    parts: tyro.conf.Positional[tuple[_PartName, ...]] = tuple(PARTS)
    """What to measure: kernels (single convolutions), resnet18 (a training step, sampled and exact), hashing (hashed
    dense layers), mlp (a training step of an MLP at batch 1), sweep (seeds per hour)."""
    seeds: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of seeds of the part sweep; the first must be 1."""
    out: Path | None = None
    """Directory for bench.json."""

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_at_least(1, self, "width", "batch_size", "rounds")
        if not all(0 < ratio < 1 for ratio in self.ratios):
            raise UsageError(f"--ratios must be in (0, 1), got {listed(self.ratios)}")
        if self.seeds[:1] != (1,) or min(self.seeds) < 1:
            raise UsageError(f"--seeds must be 1 and numbers above it, got {listed(self.seeds) or 'none'}")
        check_interpreter("--torch-python", self.torch_python)
