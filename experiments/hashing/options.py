"""What `experiments.hashing` is asked to do."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from experiments.data import DATASETS
from experiments.process.checks import check_at_least, check_share, one_of


@dataclasses.dataclass(frozen=True)
class Hashing:
    """Measures what Appendix B argues: hashing the nodes of convolutions."""

    data: Annotated[str, one_of([*DATASETS, "tfds:NAME"])] = "cifar10"
    """tfds:NAME is any image classification set of TensorFlow Datasets, such as tfds:svhn_cropped."""
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
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
