"""Flax Linen layers over the sampled and hashed products, and the conversion of models to them.

`MCConv`, `MCDense` and `ALSHDense` have the parameters of `nn.Conv` and `nn.Dense` and train on an approximation of
them; `convert` puts them into an existing model, and `advise` says where that pays.
"""

from jaxapprox._src.linen.advice import advise
from jaxapprox._src.linen.conversion import Converted, convert
from jaxapprox._src.linen.dropout import AdaptiveDropout
from jaxapprox._src.linen.hashed import ALSHDense, rehash
from jaxapprox._src.linen.sampled import MCConv, MCDense

__all__ = ["ALSHDense", "AdaptiveDropout", "Converted", "MCConv", "MCDense", "advise", "convert", "rehash"]
