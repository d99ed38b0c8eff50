"""Flax NNX layers over the sampled and hashed products, and the conversion of models to them.

`MCConv`, `MCDense` and `ALSHDense` have the parameters of `nnx.Conv` and `nnx.Linear` and train on an approximation of
them; `SampledSoftmaxDense` and `SampledSoftmaxEmbed` are output layers of very many classes. `convert` puts them into a
copy of an existing model, `advise` says where that pays, layer by layer, and `efficiency`
whether it does in all.
"""

from jaxapprox._src.nnx.advice import advise
from jaxapprox._src.nnx.conversion import convert
from jaxapprox._src.nnx.dropout import AdaptiveDropout
from jaxapprox._src.nnx.efficiency import efficiency
from jaxapprox._src.nnx.hashed import ALSHDense, HashTable, rehash
from jaxapprox._src.nnx.sampled import MCDense, MCEinsum, MCLinearGeneral
from jaxapprox._src.nnx.sampled_convolution import MCConv, MCConvTranspose
from jaxapprox._src.nnx.sampled_softmax import SampledSoftmaxDense, SampledSoftmaxEmbed, call_with_labels

__all__ = [
    "ALSHDense",
    "AdaptiveDropout",
    "HashTable",
    "MCConv",
    "MCConvTranspose",
    "MCDense",
    "MCEinsum",
    "MCLinearGeneral",
    "SampledSoftmaxDense",
    "SampledSoftmaxEmbed",
    "advise",
    "call_with_labels",
    "convert",
    "efficiency",
    "rehash",
]
