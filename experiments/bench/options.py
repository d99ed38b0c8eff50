"""What `experiments.bench` is asked to do."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from experiments.bench.chip_variants import CHIP_VARIANTS
from experiments.bench.parts import BY_NAME_ALONE, PARTS
from experiments.bench.peer_process import check_interpreter
from experiments.compiler.chips import check_topology
from experiments.process.checks import check_at_least, listed
from experiments.process.errors import UsageError

HEAD = 64  # features of an attention head of the part transformer

if TYPE_CHECKING:
    _PartName = str
    _ChipVariant = str
else:
    _PartName = Literal[tuple(PARTS)]
    _ChipVariant = Literal[tuple(CHIP_VARIANTS)]


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
    parts: tyro.conf.Positional[tuple[_PartName, ...]] = tuple(name for name in PARTS if name not in BY_NAME_ALONE)
    """What to measure: kernels (single convolutions), resnet18 (a training step, sampled and exact), hashing (hashed
    dense layers), mlp (a training step of an MLP at batch 1), sweep (seeds per hour), wide (output layers of very many
    classes), transformer (a training step of one, with kernel gradients from samples and with checkpoints); and by name
    alone device (layers and steps in bfloat16, against what the device can do) and tpu (the same and sweeps, compiled
    for a TPU that need not be there, and counted)."""
    seeds: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of seeds of the part sweep; the first must be 1."""
    sweep_networks: tuple[Literal["resnet18", "mlp"], ...] = ("resnet18", "mlp")
    """Of which networks it trains them."""
    classes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Numbers of classes of the part wide."""
    batch_sizes: tuple[int, ...] = (1, 16, 128, 1_024)
    """Sizes of a batch of the part wide."""
    blocks: int = 6
    """Blocks of the transformer of the part transformer."""
    features: int = 512
    """Features of its positions, a multiple of 64."""
    sequences: int = 32
    """Sequences of a batch of it, a multiple of 4."""
    tokens: int = 128
    """Characters of a sequence, from Python's help texts."""
    train_steps: int = 100
    """Exact steps of it before the noise of gradients is measured."""
    text: Path | None = None
    """A text for the part wide, UTF-8, plain or .gz: all methods and peers are trained on it for --seconds each."""
    seconds: float = 60.0
    """Training seconds on the text; evaluations are left out."""
    text_seeds: int = 3
    """How often each is trained on the text."""
    tune_seconds: float | None = None
    """First train each so long on the text, with several learning rates and batch sizes, and go on with what did
    best."""
    tf_python: Path = Path(sys.executable)
    """An interpreter that has TensorFlow, where this one has not."""
    topology: str = "v5e:2x2"
    """The chips that the part tpu compiles for: v5e, v6e, v5p or v4, and the sides of their arrangement."""
    chip_programs: tuple[Literal["layers", "steps", "sweeps"], ...] = ("layers", "steps", "sweeps")
    """Of what the parts device and tpu have: single layers, training steps, sweeps over seeds (tpu alone)."""
    chip_networks: tuple[Literal["resnet18", "mlp", "words"], ...] = ("resnet18", "mlp", "words")
    """Of which networks they have training steps."""
    chip_variants: tuple[_ChipVariant, ...] = tuple(CHIP_VARIANTS)
    """How their ResNet-18 is trained. Of blocks there are no sweeps: at width 16 all of its layers stay exact."""
    chip_widths: tuple[int, ...] = (16, 64, 256)
    """Its widths."""
    chip_batches: tuple[int, ...] = (128,)
    """Sizes of its batch."""
    chip_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """What it computes in."""
    chip_seeds: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of seeds of the sweeps of the part tpu, at width 16 and batch 64."""
    out: Path | None = None
    """Directory for bench.json."""

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_at_least(1, self, "width", "batch_size", "rounds", "text_seeds", "blocks", "sequences", "tokens")
        check_at_least(0, self, "train_steps")
        if self.features < HEAD or self.features % HEAD:
            raise UsageError(f"--features must be a multiple of {HEAD}, got {self.features}")
        if self.sequences % 4:
            raise UsageError(f"--sequences must be a multiple of 4, got {self.sequences}")
        if not all(0 < ratio < 1 for ratio in self.ratios):
            raise UsageError(f"--ratios must be in (0, 1), got {listed(self.ratios)}")
        if self.seeds[:1] != (1,) or min(self.seeds) < 1:
            raise UsageError(f"--seeds must be 1 and numbers above it, got {listed(self.seeds) or 'none'}")
        for name in ("classes", "batch_sizes", "chip_widths", "chip_batches", "chip_seeds"):
            values = getattr(self, name)
            if not values or min(values) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be numbers from 1, got {listed(values) or 'none'}")
        if self.text is not None and not self.text.is_file():
            raise UsageError(f"--text must be a file, got {self.text}")
        for name, seconds in (("--seconds", self.seconds), ("--tune-seconds", self.tune_seconds)):
            if seconds is not None and not 0 < seconds < float("inf"):
                raise UsageError(f"{name} must be a positive number, got {seconds}")
        if "tpu" in self.parts:
            check_topology("--topology", self.topology)
        check_interpreter("--tf-python", self.tf_python)
        check_interpreter("--torch-python", self.torch_python)
