"""Flax Linen layers over the sampled and hashed products, and the conversion of models to them."""

from jaxapprox._src.linen.advice import advise
from jaxapprox._src.linen.conversion import Converted, convert
from jaxapprox._src.linen.dropout import AdaptiveDropout
from jaxapprox._src.linen.hashed import ALSHDense, rehash
from jaxapprox._src.linen.sampled import MCConv, MCDense

__all__ = ["ALSHDense", "AdaptiveDropout", "Converted", "MCConv", "MCDense", "advise", "convert", "rehash"]
