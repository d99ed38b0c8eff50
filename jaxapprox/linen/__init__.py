"""Flax Linen layers over the sampled and hashed products, and the conversion of models to them."""

from jaxapprox.linen.advice import advise
from jaxapprox.linen.conversion import Converted, convert
from jaxapprox.linen.dropout import AdaptiveDropout
from jaxapprox.linen.hashed import ALSHDense, rehash
from jaxapprox.linen.sampled import MCConv, MCDense

__all__ = ["ALSHDense", "AdaptiveDropout", "Converted", "MCConv", "MCDense", "advise", "convert", "rehash"]
