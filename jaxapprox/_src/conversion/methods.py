"""How a layer of an existing model is to be approximated: the settings that a conversion gives it."""

import dataclasses
from typing import Any

from jaxapprox._src.checks import check_share
from jaxapprox._src.estimates.contraction import MODES, Sampling
from jaxapprox._src.estimates.conv import UNITS
from jaxapprox._src.sampling.samplers import Sampler, systematic


@dataclasses.dataclass(frozen=True)
class MC:
    """Monte-Carlo estimates, for convolutions and dense layers; attributes as in `jaxapprox.mc_conv`.

    >>> from jaxapprox import MC
    >>> rules = [("stem", None), ("*", MC(ratio=0.25, mode="backward"))]  # for `convert`

    Raises:
        ValueError: if an attribute is not as there.
    """

    ratio: float = 0.5
    sampler: Sampler = systematic
    unit: str = "channel"
    mode: str = "forward"
    min_samples: int = 1

    def __post_init__(self):
        Sampling(self.sampler, self.ratio, self.min_samples)
        for name, value, options in (("unit", self.unit, UNITS), ("mode", self.mode, MODES)):
            if value not in tuple(options):
                raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class ALSH:
    """Active units by locality-sensitive hashing, for dense layers; attributes as in `jaxapprox.linen.ALSHDense`.

    >>> from jaxapprox import ALSH
    >>> rules = [("hidden_*", ALSH(active=0.1))]  # for `convert`

    Raises:
        ValueError: if `active` is not in (0, 1].
    """

    active: float = 0.05
    num_tables: int = 5
    num_bits: int = 6
    transform: str = "l2"
    num_powers: int = 3
    max_norm: float = 0.83
    projection: str = "rademacher"
    select: str = "union"
    shared: bool = False
    form: str = "gathered"
    hashed_evaluation: bool = False

    def __post_init__(self):
        check_share("active", self.active)


Method = MC | ALSH


def options(method: Method, *, convolves: bool) -> dict[str, Any]:
    """A method's attributes as keyword arguments of what it sets, `unit` for convolutions alone."""
    own = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    return own if convolves else {name: value for name, value in own.items() if name != "unit"}
