"""What `experiments.collapse` is asked to do."""

import dataclasses
from pathlib import Path
from typing import Any

from experiments.collapse.variants import VARIANTS
from experiments.data.options import DataOptions
from experiments.process.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Collapse(DataOptions):
    """Trains the paper's CNN with one ingredient of ALSH-approx changed at a time."""

    images: int = 10_000
    """Training images, the first of the data; all where there are fewer."""
    width: int = 8
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage."""
    epochs: int = 3
    seeds: int = 3
    seed: int = 0
    """The first seed."""
    variants: tuple[str, ...] | None = None
    """Which to train, again if --out holds them; by default all that it does not hold."""
    out: Path = Path("collapse")
    """Directory for collapse.json, collapse.md and collapse.png; what it holds of other variants is kept."""

    @property
    def shared(self) -> dict[str, Any]:
        """The options that are also options of `experiments.cifar`."""
        return {name: getattr(self, name) for name in ("data", "width", "blocks", "epochs", "seeds", "seed")}

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        unknown = [name for name in self.variants or () if name not in VARIANTS]
        if unknown or self.variants == ():
            raise UsageError(f"--variants must be of {'; '.join(VARIANTS)}, got {'; '.join(unknown) or 'none'}")
        # Imported here: --help needs none of the network's options.
        from experiments.cifar.config import Config

        if self.images < Config.batch_size:
            raise UsageError(f"--images must be at least {Config.batch_size}, got {self.images}")
        Config(**self.shared).check()
