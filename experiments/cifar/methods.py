"""The training methods that are compared, by the name that `--methods` gives them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from flax import linen as nn

from experiments.cifar.config import Config
from jaxapprox import SAMPLERS
from jaxapprox.linen import ALSHDense, MCConv, MCDense, rehash

_exact_conv = functools.partial(MCConv, ratio=1.0)
_exact_dense = functools.partial(MCDense, ratio=1.0)


@dataclasses.dataclass(frozen=True)
class Method:
    """How a network is trained.

    Attributes:
        exact: whether training does without sampling altogether.
        exact_statistics: whether the convolutions' training forward is exact, so that BatchNorm's statistics fit the
            exact network.
        conv: makes the convolutions of the residual blocks.
        hidden: makes the classifier's hidden layer.
        output: makes its output layer.
        hashes: whether a layer is hashed.
        rehash: (params, lsh) -> (params, lsh), with new hash tables; None for never.
    """

    exact: bool
    exact_statistics: bool
    conv: Callable[..., nn.Module] = _exact_conv
    hidden: Callable[..., nn.Module] = _exact_dense
    output: Callable[..., nn.Module] = _exact_dense
    hashes: bool = False
    rehash: Callable[[Any, Any], tuple[Any, Any]] | None = None


def _exact(config: Config) -> Method:
    return Method(exact=True, exact_statistics=True)


def _mc(config: Config) -> Method:
    sampler = SAMPLERS[config.sampler]
    conv = functools.partial(MCConv, ratio=config.ratio, sampler=sampler, unit=config.unit, mode=config.mode)
    return Method(exact=False, exact_statistics=config.mode == "backward", conv=conv)


def alsh(
    config: Config,
    *,
    layer: type[ALSHDense] = ALSHDense,
    hash_output: bool = False,
    rehash: Callable[[Any, Any], tuple[Any, Any]] | None = None,
) -> Method:
    """The paper's method for CNNs: the classifier's hidden layer hashed, convolutions and output layer exact.

    Args:
        config: resolved.
        layer: what the hidden layer is; its `choose` finds the active sets.
        hash_output: whether the output layer is hashed as well.
        rehash: as `Method.rehash`; by default the weights are hashed as they are.
    """
    names = ("active", "num_tables", "num_bits", "transform", "select")
    # Masked: at a batch's size the product of so small a layer is faster than its gather.
    hashed = functools.partial(layer, form="masked", **{name: getattr(config, name) for name in names})
    return Method(
        exact=False,
        exact_statistics=True,
        hidden=hashed,
        output=hashed if hash_output else _exact_dense,
        hashes=True,
        rehash=(rehash or hash_as_they_are) if config.rehash_every else None,
    )


def hash_as_they_are(params: Any, tables: Any) -> tuple[Any, Any]:
    """`Method.rehash` that leaves the parameters alone."""
    return params, rehash({"params": params, "lsh": tables})


METHODS: dict[str, Callable[[Config], Method]] = {"exact": _exact, "mc": _mc, "alsh": alsh}
