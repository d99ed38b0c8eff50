"""Flax NNX layers over the sampled and hashed products, and the conversion of models to them."""

from jaxapprox.nnx.advice import advise
from jaxapprox.nnx.conversion import convert
from jaxapprox.nnx.dropout import AdaptiveDropout
from jaxapprox.nnx.hashed import ALSHDense, HashTable, rehash
from jaxapprox.nnx.sampled import MCConv, MCDense

__all__ = ["ALSHDense", "AdaptiveDropout", "HashTable", "MCConv", "MCDense", "advise", "convert", "rehash"]
