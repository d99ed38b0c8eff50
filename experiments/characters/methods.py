"""The training methods of `experiments.characters`: which dense layers its blocks are made of."""

import dataclasses
import functools

from experiments.characters.adaptive_dense import AdaptiveDense
from experiments.characters.config import CharactersConfig
from experiments.characters.control import Control
from experiments.characters.network import MakeLayer
from experiments.process.checks import listed
from experiments.process.errors import UsageError
from experiments.training.method import training_method
from jaxapprox import SAMPLERS
from jaxapprox.linen import MCDense


@dataclasses.dataclass(frozen=True)
class TransformerLayers:
    """What the network is made of, and how it is trained.

    Attributes:
        exact: whether training does without sampling.
        dense: makes the dense layers of the blocks.
        control: changes the levels of `AdaptiveDense` layers; None for other layers.
    """

    exact: bool
    dense: MakeLayer
    control: Control | None = None


EXACT = TransformerLayers(exact=True, dense=functools.partial(MCDense, ratio=1.0))


@training_method(sweeps=("batch_sizes",))
def exact(config: CharactersConfig) -> TransformerLayers:
    """Plain training."""
    return EXACT


def _sampled(config: CharactersConfig, mode: str) -> TransformerLayers:
    dense = functools.partial(MCDense, ratio=config.ratio, sampler=SAMPLERS[config.sampler], mode=mode)
    return TransformerLayers(exact=False, dense=dense)


def _note(name: str, config: CharactersConfig) -> str:
    return f"{name}: ratio {listed(config.ratios)}, {listed(config.samplers)}."


@training_method(sweeps=("batch_sizes", "ratios", "samplers"), note=functools.partial(_note, "mc"))
def mc(config: CharactersConfig) -> TransformerLayers:
    """The products of the dense layers are estimated from some of the input units."""
    return _sampled(config, "forward")


@training_method(sweeps=("batch_sizes", "ratios", "samplers"), note=functools.partial(_note, "kernel"))
def kernel(config: CharactersConfig) -> TransformerLayers:
    """The kernel gradients of the dense layers are estimated from some of the characters; all else is exact."""
    return _sampled(config, "kernel")


def _adaptive_note(config: CharactersConfig) -> str:
    return (
        f"adaptive: kernel gradients from {listed(config.shares)} of the characters, the least that adds at most"
        f" {listed(config.budgets)} of the batch's variance in a layer, measured by {len(config.shares)} gradients"
        f" every {config.measure_every} steps ({len(config.shares) / config.measure_every:.1%} of an exact training's)."
    )


@training_method(sweeps=("batch_sizes", "budgets"), note=_adaptive_note)
def adaptive(config: CharactersConfig) -> TransformerLayers:
    """Each layer's kernel gradient is estimated from as few characters as a budget of variance allows."""
    if config.batch_size % 2:
        raise UsageError(f"--batch-size must be even for adaptive, which halves batches, got {config.batch_size}")
    control = Control(config.shares, config.budget, config.measure_every)
    return TransformerLayers(False, functools.partial(AdaptiveDense, shares=config.shares), control)
