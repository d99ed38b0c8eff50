"""Flax Linen layers over the sampled and hashed products, and the conversion of models to them.

`MCConv`, `MCConvTranspose`, `MCDense`, `MCDenseGeneral` and `MCEinsum` are Flax's layers `nn.Conv` and so on, and train
on an estimate of themselves; `ALSHDense` is an `nn.Dense` that hashes; `SampledSoftmaxDense` and `SampledSoftmaxEmbed`
are output layers of very many classes. `convert` approximates the layers of an existing model in these ways, and
`advise` says where that pays, layer by layer, and `efficiency` whether it does in all.
"""

from jaxapprox._src.linen.advice import advise
from jaxapprox._src.linen.conversion import convert
from jaxapprox._src.linen.converted import Converted
from jaxapprox._src.linen.dropout import AdaptiveDropout
from jaxapprox._src.linen.efficiency import efficiency
from jaxapprox._src.linen.hashed import ALSHDense, rehash
from jaxapprox._src.linen.sampled import MCDense, MCDenseGeneral, MCEinsum
from jaxapprox._src.linen.sampled_conv import MCConv, MCConvTranspose
from jaxapprox._src.linen.sampled_softmax import SampledSoftmaxDense, SampledSoftmaxEmbed

__all__ = [
    "ALSHDense",
    "AdaptiveDropout",
    "Converted",
    "MCConv",
    "MCConvTranspose",
    "MCDense",
    "MCDenseGeneral",
    "MCEinsum",
    "SampledSoftmaxDense",
    "SampledSoftmaxEmbed",
    "advise",
    "convert",
    "efficiency",
    "rehash",
]
