"""The training methods that are compared, by the name that `--methods` gives them."""

import dataclasses
import functools
from collections.abc import Callable

from flax import linen as nn

from experiments.config import Config
from jaxapprox import SAMPLERS
from jaxapprox.linen import MCConv


@dataclasses.dataclass(frozen=True)
class Method:
    """How a network is trained.

    Attributes:
        conv: makes the convolutions of the residual blocks.
        exact: whether training does without sampling altogether.
        exact_forward: whether the training forward is exact, so that BatchNorm's statistics fit the exact network.
    """

    conv: Callable[..., nn.Module]
    exact: bool
    exact_forward: bool


def _exact(config: Config) -> Method:
    return Method(MCConv, exact=True, exact_forward=True)


def _mc(config: Config) -> Method:
    sampler = SAMPLERS[config.sampler]
    conv = functools.partial(MCConv, ratio=config.ratio, sampler=sampler, unit=config.unit, mode=config.mode)
    return Method(conv, exact=False, exact_forward=config.mode == "backward")


METHODS: dict[str, Callable[[Config], Method]] = {"exact": _exact, "mc": _mc}
