"""The names of `jaxapprox` itself: see `jaxapprox/__init__.py`."""

from jaxapprox._src.estimates.conv import conv, mc_conv
from jaxapprox._src.estimates.dense import mc_dense
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.sampling.samplers import (
    Sample,
    Sampler,
    bernoulli,
    importance,
    systematic,
    topk,
    uniform,
)
from jaxapprox._src.sampling.scores import inclusion_probabilities
from jaxapprox._src.sampling.second_moments import Moments, with_second_moments
from jaxapprox._src.sampling.variance import predicted_variance
from jaxapprox._src.softmax.settings import SampledSoftmax
from jaxapprox.registry import SAMPLERS

__all__ = [
    "ALSH",
    "MC",
    "SAMPLERS",
    "Moments",
    "Sample",
    "SampledSoftmax",
    "Sampler",
    "bernoulli",
    "conv",
    "importance",
    "inclusion_probabilities",
    "mc_conv",
    "mc_dense",
    "predicted_variance",
    "systematic",
    "topk",
    "uniform",
    "with_second_moments",
]
