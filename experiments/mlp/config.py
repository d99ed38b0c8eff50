"""What a run of `experiments.mlp` is asked to do."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from experiments.process.checks import check_at_least, check_different, check_share, one_of
from experiments.process.errors import UsageError
from experiments.training.image_options import ImageOptions
from experiments.training.schedules import Schedule
from jaxapprox.registry import Registry

if TYPE_CHECKING:
    from experiments.mlp.hidden_layers import HiddenLayer
    from experiments.training.method import TrainingMethod

METHODS: Registry[TrainingMethod[MLPConfig, HiddenLayer]] = Registry(
    "method",
    standard="experiments.mlp.methods:standard",
    dropout="experiments.mlp.methods:dropout",
    dropout_gathered="experiments.mlp.methods:dropout_gathered",
    adaptive_dropout="experiments.mlp.methods:adaptive_dropout",
    adaptive_dropout_gathered="experiments.mlp.methods:adaptive_dropout_gathered",
    alsh="experiments.mlp.methods:alsh",
    mc="experiments.mlp.methods:mc",
    mc_backward="experiments.mlp.methods:mc_backward",
)
"""The training methods by name."""


@dataclasses.dataclass(frozen=True)
class MLPConfig(ImageOptions):
    """Compares fully connected networks trained exactly, with dropout, hashing (alsh) and sampling (mc)."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"data": "digits", "epochs": 3},
        "figures": {"data": "mnist", "layers": (3, 7), "epochs": 50},
    }

    known_methods: ClassVar[Mapping[str, Any]] = METHODS
    task: ClassVar[str] = "experiments.mlp.learner:make_task"

    preset: Literal["quick", "figures"] = "quick"
    """quick: digits, no download, 2 minutes on 2 cores. figures: MNIST, 3 and 7 layers, 50 epochs, as in the paper."""
    methods: tuple[Annotated[str, one_of(METHODS)], ...] = ("standard", "dropout", "adaptive_dropout", "alsh", "mc")
    """What to compare; the first is the one others are relative to. The gathered forms skip the dropped units' work, at
    batch size 1. mc samples the forward pass and with it the gradients, mc_backward the input gradient alone."""
    layers: tuple[int, ...] = (3,)
    """Hidden layers; several numbers for a run of each."""
    width: int = 1000
    """Units of a hidden layer."""
    optimizer: Literal["sgd", "momentum", "adam"] = "adam"
    """adam has eps 1e-4, momentum 0.9; alsh, mc and the gathered forms use the lazy form of each."""
    ratios: Annotated[tuple[float, ...], tyro.conf.arg(name="ratio")] = (0.1,)
    """Share of a layer's inputs that mc keeps, in (0, 1]; several for a run of each."""
    batch_size: int = 1
    """1 is the paper's S, larger its M."""
    lrs: Annotated[tuple[float, ...], tyro.conf.arg(name="lr")] = (1e-3,)
    schedule: Schedule = "constant"
    """Of the learning rate: constant, decaying to 0 (cosine), or rising before that (onecycle)."""
    dropout_rate: float = 0.5
    """Share of the units that dropout drops, in [0, 1)."""
    keep_alpha: float = 1.0
    keep_beta: float = 0.0
    """adaptive_dropout keeps a unit with probability sigmoid(alpha z + beta), z its inner product plus bias."""
    keep_rule: Literal["standout", "released"] = "standout"
    """released: min(1, ReLU(alpha z + beta)) and no rescaling; the paper's program had alpha 0.5 and beta 1."""
    keep_capacity: float = 0.75
    """Share of the units that adaptive_dropout_gathered has room for."""

    def check(self) -> None:
        super().check()
        check_at_least(1, self, "width")
        check_different("layers", self.layers)
        if min(self.layers) < 1:
            raise UsageError(f"--layers must be at least 1, got {min(self.layers)}")
        if not 0 <= self.dropout_rate < 1:
            raise UsageError(f"--dropout-rate must be in [0, 1), got {self.dropout_rate}")
        check_share(self, "keep_capacity")
        if not (isfinite(self.keep_alpha) and isfinite(self.keep_beta)):
            raise UsageError(f"--keep-alpha and --keep-beta must be finite, got {self.keep_alpha}, {self.keep_beta}")
