"""Flax NNX layers over the sampled and hashed products, and the conversion of models to them.

`MCConv`, `MCDense` and `ALSHDense` have the parameters of `nnx.Conv` and `nnx.Linear` and train on an approximation of
them; `convert` puts them into a copy of an existing model, and `advise` says where that pays.
"""

from jaxapprox._src.nnx.advice import advise
from jaxapprox._src.nnx.conversion import convert
from jaxapprox._src.nnx.dropout import AdaptiveDropout
from jaxapprox._src.nnx.hashed import ALSHDense, HashTable, rehash
from jaxapprox._src.nnx.sampled import MCDense, MCEinsum, MCLinearGeneral
from jaxapprox._src.nnx.sampled_convolution import MCConv, MCConvTranspose

__all__ = [
    "ALSHDense",
    "AdaptiveDropout",
    "HashTable",
    "MCConv",
    "MCConvTranspose",
    "MCDense",
    "MCEinsum",
    "MCLinearGeneral",
    "advise",
    "convert",
    "rehash",
]
