"""Flax Linen layers over the sampled and hashed products."""

from jaxapprox.linen.dropout import AdaptiveDropout
from jaxapprox.linen.hashed import ALSHDense, rehash
from jaxapprox.linen.sampled import MCConv, MCDense

__all__ = ["ALSHDense", "AdaptiveDropout", "MCConv", "MCDense", "rehash"]
