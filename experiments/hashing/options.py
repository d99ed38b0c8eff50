"""What `experiments.hashing` is asked to do."""

import dataclasses
from pathlib import Path
from typing import Any

from experiments.data.options import DataOptions
from experiments.process.checks import check_at_least, check_share


@dataclasses.dataclass(frozen=True)
class Hashing(DataOptions):
    """Measures what Appendix B argues: hashing the nodes of convolutions."""

    width: int = 16
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage."""
    epochs: int = 1
    """Of exact training, for the trained filters."""
    images: int = 64
    """Test images to query with."""
    active: float = 0.25
    """Share of a convolution's filters that are active at a position, in (d); (b) has the paper's 5 % of the nodes."""
    draws: int = 20
    """Sets of hash functions."""
    seed: int = 0
    out: Path = Path("hashing")
    """Directory for hashing.json, hashing.md and hashing.png."""

    @property
    def shared(self) -> dict[str, Any]:
        """The options that are also options of `experiments.cifar`."""
        return {name: getattr(self, name) for name in ("data", "width", "blocks", "epochs", "seed")}

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_at_least(1, self, "images", "draws")
        check_share(self, "active")
        # Imported here: --help needs none of the network's options.
        from experiments.cifar.config import Config

        Config(**self.shared).check()
