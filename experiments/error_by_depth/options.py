"""What `experiments.error_by_depth` is asked to do."""

import dataclasses
from pathlib import Path

from experiments.process.checks import check_at_least, check_share, listed
from experiments.process.errors import UsageError


@dataclasses.dataclass(frozen=True)
class ErrorByDepth:
    """Measures how the error of an estimated forward pass compounds with depth, against a prediction."""

    width: int = 1000
    """Of the inputs and of every layer."""
    layers: int = 10
    """Hidden layers."""
    ratios: tuple[float, ...] = (0.1, 0.5)
    """Shares of the inputs that sampled products keep."""
    active: float = 0.05
    """Share of a layer's units that hashing, the oracle and random choice activate."""
    networks: int = 3
    examples: int = 16
    """Inputs to each network."""
    draws: int = 8
    """Estimates for each input; hash functions are drawn anew for each."""
    seed: int = 0
    out: Path = Path("error_by_depth")
    """Directory for error_by_depth.json, error_by_depth.md and error_by_depth.png."""

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_at_least(16, self, "width")  # in narrower layers all units may be 0
        check_at_least(1, self, "layers", "networks", "examples", "draws")
        check_at_least(0, self, "seed")
        check_share(self, "active")
        if not self.ratios or len(set(self.ratios)) < len(self.ratios) or not all(0 < r <= 1 for r in self.ratios):
            got = listed(self.ratios) or "none"
            raise UsageError(f"--ratios must be one or more different numbers in (0, 1], got {got}")
