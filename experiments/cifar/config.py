"""What a run of `experiments.cifar` is asked to do."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from experiments.process.checks import check_at_least, listed, one_of
from experiments.process.errors import UsageError
from experiments.training.image_options import ImageOptions
from experiments.training.schedules import Schedule
from jaxapprox.registry import Registry

if TYPE_CHECKING:
    from experiments.cifar.methods import CNNLayers
    from experiments.training.method import TrainingMethod

METHODS: Registry[TrainingMethod[Config, CNNLayers]] = Registry(
    "method",
    exact="experiments.cifar.methods:exact",
    mc="experiments.cifar.methods:mc",
    alsh="experiments.cifar.methods:alsh",
    norms="experiments.cifar.methods:norms",
)
"""The training methods by name."""


@dataclasses.dataclass(frozen=True)
class Config(ImageOptions):
    """Compares a ResNet-18 trained exactly, sampled (mc), with a hashed layer (alsh) and on chosen images (norms)."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar10": {},
        "quick": {"data": "digits", "width": 8, "epochs": 30, "batch_size": 32, "lrs": (0.03,)},
        "table3": {"epochs": 50, "methods": ("exact", "mc", "alsh")},
    }

    known_methods: ClassVar[Mapping[str, Any]] = METHODS
    task: ClassVar[str] = "experiments.cifar.learner:make_task"

    preset: Literal["quick", "cifar10", "table3"] = "cifar10"
    """quick: digits, no download, 2 minutes on 2 cores. cifar10: the standard network. table3: the paper's setting."""
    methods: tuple[Annotated[str, one_of(METHODS)], ...] = ("exact", "mc")
    """What to compare; the first is the one others are relative to."""
    unit: Literal["channel", "edge", "block"] = "channel"
    mode: Literal["forward", "backward", "straight_through", "kernel"] = "forward"
    resample_every: int = 1
    """Steps from one scoring of the rows that mc draws to the next; those in between draw anew, by the same scores."""
    min_blocks: int = 8
    """With --unit block, convolutions of fewer blocks of 128 input channels stay exact: samples of few are noisy."""
    width: int = 64
    """Channels of the first stage; 64 is the standard ResNet-18."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage; these are ResNet-18's."""
    schedule: Schedule = "onecycle"
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

    @property
    def exact_forward(self) -> bool:
        """Whether it is gradients alone that mc estimates."""
        return self.mode in ("backward", "kernel")

    def check(self) -> None:
        super().check()
        check_at_least(1, self, "width", "recalibration_batches", "min_blocks", "resample_every")
        if self.resample_every > 1 and self.exact_forward:
            raise UsageError(
                f"--resample-every must be 1 with --mode {self.mode}, which draws by gradients and examples of a step,"
                f" got {self.resample_every}"
            )
        if not self.blocks or min(self.blocks) < 1:
            raise UsageError(f"--blocks must be one or more numbers from 1, got {listed(self.blocks)}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum must be in [0, 1), got {self.momentum}")
        if not 0 <= self.weight_decay < float("inf"):
            raise UsageError(f"--weight-decay must be a non-negative number, got {self.weight_decay}")
