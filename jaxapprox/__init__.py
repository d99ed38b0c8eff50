"""Training neural networks with sampled matrix products, in JAX."""

from jaxapprox.conv import conv, mc_conv
from jaxapprox.dense import mc_dense
from jaxapprox.methods import ALSH, MC
from jaxapprox.sampling import (
    SAMPLERS,
    Sample,
    Sampler,
    bernoulli,
    importance,
    inclusion_probabilities,
    systematic,
    topk,
    uniform,
)
from jaxapprox.variance import predicted_variance

__all__ = [
    "ALSH",
    "MC",
    "SAMPLERS",
    "Sample",
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
]
