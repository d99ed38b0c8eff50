"""The training methods of `experiments.cifar`: which layers its network is made of."""

import dataclasses
import functools
from typing import Any

import jax
from flax import linen as nn

from experiments.cifar.config import Config
from experiments.cifar.network import MakeLayer
from experiments.process.checks import listed
from experiments.training.learner import Rehash
from experiments.training.method import training_method
from jaxapprox import MC, SAMPLERS
from jaxapprox.linen import ALSHDense, MCConv, MCDense, rehash

_exact_conv: MakeLayer = functools.partial(MCConv, ratio=1.0)
_exact_dense: MakeLayer = functools.partial(MCDense, ratio=1.0)


class OfManyBlocks(MCConv):
    """A convolution that is sampled only if its input has `min_blocks` blocks of channels.

    Attributes:
        min_blocks: the fewest of which a sample is drawn.
    """

    min_blocks: int = 8

    def __call__(self, inputs: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """As of `MCConv`."""
        channels = inputs.shape[-1]
        few = channels < self.min_blocks * MC(unit="block").block(channels)
        return super().__call__(inputs, few or nn.merge_param("deterministic", self.deterministic, deterministic))


@dataclasses.dataclass(frozen=True)
class CNNLayers:
    """What the network is made of.

    Attributes:
        exact: whether training does without sampling altogether.
        exact_statistics: whether the convolutions' training forward is exact, so that BatchNorm's statistics fit the
            exact network.
        conv: makes the convolutions of the residual blocks.
        hidden: makes the classifier's hidden layer.
        output: makes its output layer.
        hashes: whether a layer is hashed.
        rehash: makes new hash tables; None for never.
        kept_images: the share of a batch that is trained on, drawn by gradient norms; None for all of it.
        scored_every: steps from one scoring of the rows that convolutions draw to the next.
    """

    exact: bool
    exact_statistics: bool
    conv: MakeLayer = _exact_conv
    hidden: MakeLayer = _exact_dense
    output: MakeLayer = _exact_dense
    hashes: bool = False
    rehash: Rehash | None = None
    kept_images: float | None = None
    scored_every: int = 1


@training_method()
def exact(config: Config) -> CNNLayers:
    """Plain training."""
    return CNNLayers(exact=True, exact_statistics=True)


def _mc_note(config: Config) -> str:
    least = f" (from {config.min_blocks} blocks on)" if config.unit == "block" else ""
    kept = f", scored every {config.resample_every} steps" if config.resample_every > 1 else ""
    return f"mc: ratio {listed(config.ratios)}, {listed(config.samplers)}, {config.unit}{least}, {config.mode}{kept}."


@training_method(sweeps=("ratios", "samplers"), note=_mc_note)
def mc(config: Config) -> CNNLayers:
    """MC-approx: sampled convolutions, exact stem and classifier (the paper's Appendix B)."""
    layer: MakeLayer = MCConv
    if config.unit == "block":
        layer = functools.partial(OfManyBlocks, min_blocks=config.min_blocks)
    sampler = SAMPLERS[config.sampler]
    conv = functools.partial(layer, ratio=config.ratio, sampler=sampler, unit=config.unit, mode=config.mode)
    return CNNLayers(exact=False, exact_statistics=config.exact_forward, conv=conv, scored_every=config.resample_every)


def hashed_layers(
    config: Config, *, layer: type[ALSHDense] = ALSHDense, hash_output: bool = False, rehash: Rehash | None = None
) -> CNNLayers:
    """The layers of `alsh`, or of a variant of it.

    Args:
        config: the options.
        layer: what the hidden layer is; its `choose` finds the active sets.
        hash_output: whether the output layer is hashed as well.
        rehash: makes new hash tables; by default the weights are hashed as they are.
    """
    names = ("active", "num_tables", "num_bits", "transform", "select")
    # Masked: at a batch's size the product of so small a layer is faster than its gather.
    hashed = functools.partial(layer, form="masked", **{name: getattr(config, name) for name in names})
    return CNNLayers(
        exact=False,
        exact_statistics=True,
        hidden=hashed,
        output=hashed if hash_output else _exact_dense,
        hashes=True,
        rehash=(rehash or hash_as_they_are) if config.rehash_every else None,
    )


def hash_as_they_are(params: Any, tables: Any) -> tuple[Any, Any]:
    """Makes new hash tables and leaves the parameters alone: a `Rehash`."""
    return params, rehash({"params": params, "lsh": tables})


def _alsh_note(config: Config) -> str:
    return (
        f"alsh: {config.active:.1%} active by {config.select}, K {config.num_bits}, L {config.num_tables},"
        f" {config.transform}, computed in masked form with diagnostics: it saves no FLOPs here."
    )


@training_method(note=_alsh_note)
def alsh(config: Config) -> CNNLayers:
    """ALSH-approx for CNNs (the paper): the classifier's hidden layer hashed, convolutions and output layer exact."""
    return hashed_layers(config)


def _norms_note(config: Config) -> str:
    return f"norms: {listed(config.ratios)} of a batch's images, drawn by their last gradient norms at the logits."


@training_method(sweeps=("ratios",), note=_norms_note)
def norms(config: Config) -> CNNLayers:
    """Exact layers on a part of each batch, its images drawn by their last gradient norms and reweighted."""
    return CNNLayers(exact=True, exact_statistics=False, kept_images=config.ratio)
